// The surface's operations on WebGPU, by the kernels that the server runs through wgpu.

import { MAX_DABS, WAVE, assertStable } from "./brush.js";
import { GpuSpectrum } from "./spectrumgpu.js";

const NAMES = ["deposit", "wave", "colour", "reduce"];
const SPECTRAL = ["reduce", "fft", "power", "colour"];
const MOST = 2 * MAX_DABS; // marks of one dispatch
const fetched = new Map(); // kernels, once a page

/** Backend of a `Surface`; `PlainEngine` has the same methods. */
export class GpuEngine {
  name = "webgpu";
  maxPixels = 1 << 24; // 64 MiB, half of what every device can bind
  #buffers = {};
  #groups = {};
  #current = 0; // which of the two shown buffers is the newest
  #size = { columns: 0, rows: 0, stride: 0 };
  #encoder = null; // what was asked for and not submitted yet
  #marked = false; // whether it reads `marks`
  #spectrum = null; // promise, once somebody has asked
  #picture = new OffscreenCanvas(1, 1);

  /** Ask an adapter for a device and build everything on it. */
  static async create(adapter, kernels, shape) {
    assertStable(WAVE);
    const sources = await texts(kernels, NAMES);
    const engine = new GpuEngine(await adapter.requestDevice(), shape);
    await engine.#build(Object.values(sources));
    engine.kernels = kernels;
    return engine;
  }

  constructor(device, { width, height, bands, sheets }) {
    Object.assign(this, { device, width, height, bands, sheets });
    this.lost = device.lost;
    this.format = navigator.gpu.getPreferredCanvasFormat();
    if (Math.ceil((width * height) / 256) > device.limits.maxComputeWorkgroupsPerDimension)
      throw new RangeError(`a layer of ${width} x ${height} cells needs more workgroups than the device has`);
  }

  release() {
    this.device.destroy();
  }

  async #build(sources) {
    const { device, width, height, bands, sheets } = this;
    const pipelines = await Promise.all(sources.map((code) => device.createComputePipelineAsync({
      layout: "auto", compute: { module: device.createShaderModule({ code }), entryPoint: "main" } })));
    this.pipelines = Object.fromEntries(NAMES.map((name, i) => [name, pipelines[i]]));
    const cells = 16 * Math.ceil((width * height) / 4), grid = 16 * Math.ceil((bands * sheets) / 4);
    for (const [name, size] of Object.entries({ layer: cells, velocity: cells, shown0: cells, shown1: cells,
      means: grid, field: grid, tables: 2048, marks: 16 * MOST }))
      this.#buffer(name, size, GPUBufferUsage.STORAGE);
    for (const name of NAMES) this.#buffer(`${name}Params`, 48, GPUBufferUsage.UNIFORM);
    this.#write("waveParams", params([width, height], [WAVE.dt, WAVE.speed, WAVE.stiffness, WAVE.damping]));
    this.#write("reduceParams", params([width, height, bands, sheets]));
    this.range = [0, 1];
    this.#group("deposit", "deposit", ["marks", "layer"]);
    this.#group("reduce", "reduce", ["layer", "means"]);
    this.#group("wave0", "wave", ["layer", "shown0", "velocity", "shown1"]);
    this.#group("wave1", "wave", ["layer", "shown1", "velocity", "shown0"]);
    this.context = this.#picture.getContext("webgpu");
    this.context.configure({ device, format: this.format, alphaMode: "opaque",
      usage: GPUTextureUsage.COPY_DST | GPUTextureUsage.COPY_SRC });
  }

  #buffer(name, size, usage) {
    this.#buffers[name]?.destroy();
    this.#buffers[name] = this.device.createBuffer({
      label: name, size, usage: usage | GPUBufferUsage.COPY_DST | GPUBufferUsage.COPY_SRC });
  }

  #group(name, kernel, storage) {
    this.#groups[name] = this.device.createBindGroup({ label: name, layout: this.pipelines[kernel].getBindGroupLayout(0),
      entries: [`${kernel}Params`, ...storage].map((key, binding) => (
        { binding, resource: { buffer: this.#buffers[key] } })) });
  }

  #write(name, data) {
    this.device.queue.writeBuffer(this.#buffers[name], 0, data);
  }

  /** Encode into what the next frame submits as one. */
  #encode(encode) {
    this.#encoder ??= this.device.createCommandEncoder();
    encode(this.#encoder);
  }

  #submit() {
    if (this.#encoder) this.device.queue.submit([this.#encoder.finish()]);
    this.#encoder = null;
    this.#marked = false;
  }

  #dispatch(encoder, kernel, group, x, y = 1) {
    const pass = encoder.beginComputePass({ label: group });
    pass.setPipeline(this.pipelines[kernel]);
    pass.setBindGroup(0, this.#groups[group]);
    pass.dispatchWorkgroups(x, y);
    pass.end();
  }

  /** Submit, then bring `size` bytes to the host; `fill` encodes the copy into the buffer it is given. */
  async #bring(size, fill) {
    const host = this.device.createBuffer({ size, usage: GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ });
    this.#encode((encoder) => fill(encoder, host));
    this.#submit();
    await host.mapAsync(GPUMapMode.READ);
    const bytes = host.getMappedRange().slice(0);
    host.destroy();
    return bytes;
  }

  get #blocks() {
    return Math.ceil((this.width * this.height) / 256);
  }

  setField(values, low, high) {
    this.#write("field", values);
    this.range = [low, high];
  }

  setTables({ field, painted }) {
    const both = new Uint8Array(2048);
    both.set(field.subarray(0, 1024));
    both.set(painted.subarray(0, 1024), 1024);
    this.#write("tables", this.#swapped(both)); // the kernel treats channels alike, so pixels come out in this order
  }

  /** RGBA to the canvas's order and back. */
  #swapped(bytes) {
    if (this.format === "bgra8unorm")
      for (let i = 0; i < bytes.length; i += 4) [bytes[i], bytes[i + 2]] = [bytes[i + 2], bytes[i]];
    return bytes;
  }

  setLayer(values) {
    this.#submit(); // a write comes before what is submitted after it
    this.#write("layer", values);
  }

  async copyLayer() {
    const size = 4 * this.width * this.height;
    return new Float32Array(await this.#bring(size, (encoder, host) => {
      encoder.copyBufferToBuffer(this.#buffers.layer, 0, host, 0, size);
    }));
  }

  deposit({ marks, spans, amount, erase, hardness }) {
    for (let start = 0; start < marks.length; start += 4 * MOST) { // spans do not overlap, so they may come in parts
      const part = marks.subarray(start, start + 4 * MOST);
      if (this.#marked) this.#submit();
      this.#marked = true;
      this.#write("marks", part);
      this.#write("depositParams", params(
        [this.width, this.height, part.length / 4, Number(erase), Number(spans)], [amount, hardness]));
      this.#encode((encoder) => this.#dispatch(encoder, "deposit", "deposit", this.#blocks));
    }
  }

  /** Area mean over the grid, [bands x sheets]. */
  async relation() {
    const size = 4 * this.bands * this.sheets;
    return new Float32Array(await this.#bring(size, (encoder, host) => {
      this.#dispatch(encoder, "reduce", "reduce", Math.ceil((this.bands * this.sheets) / 4));
      encoder.copyBufferToBuffer(this.#buffers.means, 0, host, 0, size);
    }));
  }

  step(count) {
    this.#encode((encoder) => {
      for (let n = 0; n < count; n++) {
        this.#dispatch(encoder, "wave", `wave${this.#current}`, this.#blocks);
        this.#current = 1 - this.#current;
      }
    });
  }

  settle() {
    this.#encode((encoder) => {
      encoder.copyBufferToBuffer(this.#buffers.layer, 0, this.#buffers[`shown${this.#current}`], 0,
        this.#buffers.layer.size);
      encoder.clearBuffer(this.#buffers.velocity);
    });
  }

  present(columns, rows) {
    this.#encode((encoder) => this.#draw(encoder, columns, rows));
    this.#submit();
    return this.#picture.transferToImageBitmap();
  }

  /** When the device has done all that was asked for. */
  done() {
    return this.device.queue.onSubmittedWorkDone();
  }

  /** The picture of the layer's spectrum. */
  async spectrum() {
    const spectrum = await this.#spectral();
    this.#encode((encoder) => spectrum.draw(encoder));
    this.#submit();
    return spectrum.present();
  }

  /** Decibels [rows x columns] of the layer's spectrum. */
  async decibels() {
    const spectrum = await this.#spectral(), size = 4 * spectrum.columns * spectrum.rows;
    return new Float32Array(await this.#bring(size, (encoder, host) => {
      spectrum.measure(encoder);
      encoder.copyBufferToBuffer(spectrum.buffers.decibels, 0, host, 0, size);
    }));
  }

  #spectral() {
    const { device, width, height, format } = this, { layer, tables } = this.#buffers;
    this.#spectrum ??= texts(this.kernels, SPECTRAL).then((code) => (
      GpuSpectrum.create({ device, width, height, format, layer, tables }, code)));
    return this.#spectrum;
  }

  async read(columns, rows) {
    const bytesPerRow = 256 * Math.ceil(columns / 64);
    const padded = new Uint8Array(await this.#bring(bytesPerRow * rows, (encoder, buffer) => {
      const texture = this.#draw(encoder, columns, rows);
      encoder.copyTextureToBuffer({ texture }, { buffer, bytesPerRow }, [columns, rows]);
    }));
    const pixels = new Uint8Array(4 * columns * rows);
    for (let row = 0; row < rows; row++)
      pixels.set(padded.subarray(row * bytesPerRow, row * bytesPerRow + 4 * columns), 4 * row * columns);
    return this.#swapped(pixels);
  }

  /** Colour what is shown into the canvas's texture. */
  #draw(encoder, columns, rows) {
    this.#resize(columns, rows);
    const { stride } = this.#size;
    this.#write("colourParams", params(
      [this.width, this.height, this.bands, this.sheets, columns, rows, stride], this.range));
    this.#dispatch(encoder, "colour", `colour${this.#current}`, Math.ceil(stride / 256), rows);
    const texture = this.context.getCurrentTexture();
    encoder.copyBufferToTexture({ buffer: this.#buffers.pixels, bytesPerRow: 4 * stride }, { texture }, [columns, rows]);
    return texture;
  }

  #resize(columns, rows) {
    if (this.#size.columns === columns && this.#size.rows === rows) return;
    const stride = 64 * Math.ceil(columns / 64); // a copied row starts at a multiple of 256 bytes
    this.#size = { columns, rows, stride };
    Object.assign(this.#picture, { width: columns, height: rows });
    this.#buffer("pixels", 4 * stride * rows, GPUBufferUsage.STORAGE);
    for (const which of [0, 1]) this.#group(`colour${which}`, "colour", [`shown${which}`, "field", "tables", "pixels"]);
  }
}

/** Uniforms: whole numbers, then floats. */
function params(whole, floats = []) {
  const data = new DataView(new ArrayBuffer(48));
  whole.forEach((value, i) => data.setUint32(4 * i, value, true));
  floats.forEach((value, i) => data.setFloat32(4 * (whole.length + i), value, true));
  return data;
}

/** Texts of kernels by name: given so, or from the folder at a URL. */
async function texts(kernels, names) {
  return Object.fromEntries(await Promise.all(names.map(async (name) => [name, kernels[name] ?? await text(`${kernels}/${name}.wgsl`)])));
}

async function text(url) {
  if (!fetched.has(url)) {
    const answer = await fetch(url);
    if (!answer.ok) throw new Error(`${url} answers ${answer.status}`);
    fetched.set(url, await answer.text());
  }
  return fetched.get(url);
}
