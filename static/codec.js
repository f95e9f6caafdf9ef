// The wire format of canvas/codec.py in JavaScript: the same bytes, the same checks in the same order, the same codes.
// The layout stands there; tests/canvas/vectors.json holds both to it.

const MAGIC = 0x4350535a; // "ZSPC" as a little-endian word
const VERSION = 1;
const HEADER = 88;
const LIMITS = { server: 1 << 20, browser: 16 << 20 }; // bytes at once, by the side that receives
const MAX_DEPTH = 16;
const CHARTS = ["none", "atlas", "disk", "state", "gradient", "train", "validation", "looks"];
const DTYPES = ["", "u8", "i32", "f32", "f64"];
const ARRAYS = { u8: Uint8Array, i32: Int32Array, f32: Float32Array, f64: Float64Array };
const KINDS = {
  field: { code: 1, to: "browser", charts: ["state", "gradient"], dtype: "f32", ndim: 3, holds: "numbers" },
  series: { code: 2, to: "browser", charts: ["train", "validation", "looks"], dtype: "f64", ndim: 2, holds: "numbers" },
  text: { code: 3, to: "browser", charts: ["none"], dtype: "u8", ndim: 1, holds: "json" },
  file: { code: 4, to: "browser", charts: ["none"], dtype: "u8", ndim: 1, holds: "bytes" },
  layers: { code: 5, to: "browser", charts: ["atlas"], dtype: "f32", ndim: 3, holds: "numbers" }, // these two belong to the text before
  image: { code: 6, to: "browser", charts: ["atlas"], dtype: "u8", ndim: 3, holds: "bytes" },
  command: { code: 16, to: "server", charts: ["none"], dtype: "u8", ndim: 1, holds: "json" },
  ack: { code: 17, to: "server", charts: ["none"], dtype: "u8", ndim: 1, holds: "nothing" },
  patch: { code: 18, to: "server", charts: ["atlas", "disk"], dtype: "f32", ndim: 2, holds: "numbers" },
};

/** A message that is not taken: a code and one sentence with the value, the limit and the remedy. */
export class Refusal extends Error {
  constructor(code, reason) {
    super(reason);
    this.name = "Refusal";
    this.code = code;
  }
}

/** A message that holds one JSON object. */
export function text(kind, object, sequence = 0) {
  const finite = (key, value) => { // JSON.stringify would write null for NaN
    if (typeof value !== "number" || Number.isFinite(value)) return value;
    throw new Refusal("text", `${key} is ${value}: JSON has no such number; send finite ones`);
  };
  const values = new TextEncoder().encode(JSON.stringify(object, finite));
  return { kind, sequence, shape: [values.length], values };
}

/** The ArrayBuffer of a message; what is left out is that of an empty one. Refuses what `decodeAll` would. */
export function encode(message) {
  const full = { chart: "none", sequence: 0, shape: [0], dtype: "u8", values: new Uint8Array(0), depth: 0, time: 0,
    coherence: 0, frame: "", ...message };
  const { kind, chart, sequence, shape, dtype, depth, time, coherence, frame } = full;
  const rule = Object.hasOwn(KINDS, kind) ? KINDS[kind] : null;
  if (!rule) throw new Refusal("kind", `kind is ${kind}: use one of ${Object.keys(KINDS)}`);
  const expected = measure(kind, chart, dtype, shape, LIMITS[rule.to]);
  const given = bytesOf(full.values, "values");
  if (!(full.values instanceof ArrayBuffer || [Uint8Array, ARRAYS[dtype]].some((type) => full.values instanceof type)))
    throw new Refusal("dtype", `values are not an array of ${dtype}: convert them, or give raw bytes`);
  if (given.length !== expected)
    throw new Refusal("size",
      `values have ${given.length} bytes: ${dtype} of shape ${shape} needs ${expected}; send as many`);
  const buffer = new ArrayBuffer(HEADER + expected + padding(expected));
  new Uint8Array(buffer).set(given, HEADER);
  check(full, new ARRAYS[dtype](buffer, HEADER, expected / ARRAYS[dtype].BYTES_PER_ELEMENT));
  if (!/^([0-9a-f]{64})?$/.test(frame))
    throw new Refusal("header", `frame is ${frame}: a signature has 64 hex digits; use the server's or ""`);
  const head = new DataView(buffer);
  head.setUint32(0, MAGIC, true);
  [VERSION, rule.code, DTYPES.indexOf(dtype), shape.length].forEach((byte, i) => head.setUint8(4 + i, byte));
  head.setUint16(8, CHARTS.indexOf(chart), true);
  head.setUint32(12, depth, true);
  head.setBigUint64(16, BigInt(sequence), true);
  head.setFloat64(24, time, true);
  head.setFloat64(32, coherence, true);
  for (let i = 0; i < frame.length / 2; i++) head.setUint8(40 + i, parseInt(frame.slice(2 * i, 2 * i + 2), 16));
  shape.forEach((size, i) => head.setUint32(72 + 4 * i, size, true));
  return buffer;
}

/** The messages of a batch (ArrayBuffer or a view of one); `values` look into it without a copy, texts have `json`. */
export function decodeAll(data, to = "browser") {
  let bytes = bytesOf(data, "data");
  if (bytes.length > LIMITS[to])
    throw new Refusal("size", `data has ${bytes.length} bytes: the limit is ${LIMITS[to]}; send less at once`);
  if (bytes.byteOffset % 8) bytes = bytes.slice(); // typed arrays look only at whole multiples of their item
  const messages = [];
  for (let start = 0; start < bytes.length; ) {
    const [message, length] = read(bytes.subarray(start), to);
    messages.push(message);
    start += length;
  }
  return messages;
}

/** The plain bytes of a buffer or view; Bokeh subclasses typed arrays, so a class's name says nothing. */
function bytesOf(data, name) {
  if (data instanceof ArrayBuffer) return new Uint8Array(data);
  if (ArrayBuffer.isView(data)) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  throw new Refusal("type", `${name} is of type ${typeof data}: send one ArrayBuffer or a view of one`);
}

/** The message at the start of the bytes, and its length. */
function read(bytes, to) {
  if (bytes.length < HEADER)
    throw new Refusal("size", `${bytes.length} bytes are left: a header has ${HEADER}; send whole messages`);
  const head = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (head.getUint32(0, true) !== MAGIC)
    throw new Refusal("magic", "the message does not begin with ZSPC: send nothing else here");
  const [version, code, dtypeCode, ndim] = bytes.subarray(4, 8);
  if (version !== VERSION)
    throw new Refusal("version", `version is ${version}: this side speaks ${VERSION}; reload the page`);
  const kinds = Object.keys(KINDS).filter((name) => KINDS[name].to === to);
  const kind = kinds.find((name) => KINDS[name].code === code);
  if (!kind) throw new Refusal("kind", `kind is ${code}: the ${to} takes ${kinds.join(", ")}; send those`);
  const sizes = [72, 76, 80, 84].map((at) => head.getUint32(at, true));
  if (ndim < 1 || ndim > 4 || sizes.slice(ndim).some(Boolean))
    throw new Refusal("shape", `shape is ${sizes} with ndim ${ndim}: ndim goes from 1 to 4 and unused sizes are 0`);
  const chart = CHARTS[head.getUint16(8, true)], dtype = DTYPES[dtypeCode], shape = sizes.slice(0, ndim);
  const count = measure(kind, chart, dtype, shape, LIMITS[to]);
  const length = HEADER + count + padding(count);
  if (length > bytes.length)
    throw new Refusal("size",
      `data has ${bytes.length} bytes: ${dtype} of shape ${shape} needs ${length}; send all of it`);
  if (head.getUint16(10, true) || bytes.subarray(HEADER + count, length).some(Boolean))
    throw new Refusal("header", "the reserved bytes or the padding are not 0: send zeros there");
  const values = new ARRAYS[dtype](bytes.buffer, bytes.byteOffset + HEADER, count / ARRAYS[dtype].BYTES_PER_ELEMENT);
  const raw = bytes.subarray(40, 72);
  const frame = raw.some(Boolean) ? Array.from(raw, (byte) => byte.toString(16).padStart(2, "0")).join("") : "";
  const message = { kind, chart, sequence: Number(head.getBigUint64(16, true)), shape, dtype, values,
    depth: head.getUint32(12, true), time: head.getFloat64(24, true), coherence: head.getFloat64(32, true), frame };
  const json = check(message, values);
  return [json ? { ...message, json } : message, length];
}

/** Zeros after so many bytes of values. */
function padding(count) {
  return -count & 7;
}

/** Bytes of the values, once the kind allows chart, dtype and shape. */
function measure(kind, chart, dtype, shape, limit) {
  const { charts, dtype: only, ndim, holds } = KINDS[kind];
  if (!charts.includes(chart))
    throw new Refusal("chart", `chart is ${chart}: ${kind} takes ${charts.join(" or ")}; send it there`);
  if (dtype !== only) throw new Refusal("dtype", `dtype is ${dtype}: ${kind} takes ${only}; convert the values`);
  if (shape.length !== ndim || !shape.every((size) => Number.isInteger(size) && size >= 0 && size < 2 ** 32))
    throw new Refusal("shape", `shape is ${shape}: ${kind} takes ${ndim} sizes of 32 bits; reshape the values`);
  const count = shape.reduce((a, b) => a * b, ARRAYS[dtype].BYTES_PER_ELEMENT); // inexact only far beyond the limit
  const room = holds === "nothing" ? 0 : limit - HEADER;
  if (count > room)
    throw new Refusal("shape", `shape ${shape} takes ${count} bytes: the limit for ${kind} is ${room}; send less`);
  return count;
}

/** Refuse numbers out of range in the header, then values that the kind does not hold; gives back a text's object. */
function check({ kind, sequence, depth, time, coherence, dtype }, values) {
  if (!Number.isSafeInteger(sequence) || sequence < 0 || !Number.isInteger(depth) || depth < 0 || depth >= 2 ** 32)
    throw new Refusal("header",
      `sequence is ${sequence} and depth ${depth}: they count from 0 to below 2^53 and 2^32; begin a new session`);
  if (!(time >= 0 && time < Infinity))
    throw new Refusal("header", `time is ${time}: send finite Unix seconds from 0 on`);
  if (!(coherence >= 0 && coherence < Infinity) || (coherence && kind !== "patch"))
    throw new Refusal("header",
      `coherence is ${coherence} on ${kind}: send a finite trust from 0 on with a patch, 0 with the rest`);
  const { holds } = KINDS[kind];
  if (holds === "json") return parse(values);
  if (holds === "numbers")
    for (let i = 0; i < values.length; i++) // a plain loop: several times as fast as findIndex
      if (!Number.isFinite(values[i]))
        throw new Refusal("values", `value ${i} is ${values[i]}: ${dtype} values must be finite; replace it`);
  return null;
}

/** The JSON object in UTF-8 bytes. */
function parse(bytes) {
  let found;
  try {
    // a byte order mark stays, so that JSON refuses it as Python does
    found = JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes));
  } catch (error) {
    throw new Refusal("text", `text is not JSON in UTF-8: ${error.message}; send one JSON object`);
  }
  const container = (item) => typeof item === "object" && item !== null;
  if (!container(found) || Array.isArray(found))
    throw new Refusal("text", "text is not an object: send one JSON object");
  let level = [found];
  for (let depth = 0; depth < MAX_DEPTH; depth++) {
    const inside = level.flatMap((node) => Object.values(node));
    if (inside.some((item) => typeof item === "number" && !Number.isFinite(item)))
      throw new Refusal("text", `text holds a number beyond ${Number.MAX_VALUE}: send finite numbers`);
    level = inside.filter(container);
    if (!level.length) return found;
  }
  throw new Refusal("text", `text nests deeper than ${MAX_DEPTH} levels: flatten it`);
}
