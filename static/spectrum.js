// The spectrum of what is painted: how a transform is cut into steps, and all of it in plain JavaScript.

export const MOST = 256; // cells along an edge: a larger layer is reduced before
export const RANGE = [-80, 10]; // dB that are told apart; the constant 1 has 0
const FLOOR = 1e-12; // of a power

/** A layer's area means over at most `MOST` cells along each edge: {values, columns, rows}. */
export function reduced(layer, width, height) {
  const columns = Math.min(width, MOST), rows = Math.min(height, MOST), values = new Float64Array(columns * rows);
  const across = shares(width, columns), up = shares(height, rows);
  for (const [y, row, part] of up)
    for (const [x, column, share] of across) values[row * columns + column] += part * share * layer[y * width + x];
  return { values, columns, rows };
}

/** Which cell of few each of n cells falls into, and the share of that cell it makes: triples, two where it is cut. */
function shares(n, few) {
  const found = [];
  for (let i = 0; i < n; i++)
    for (let k = Math.floor((i * few) / n); k * n < (i + 1) * few; k++)
      found.push([i, k, (Math.min((i + 1) * few, (k + 1) * n) - Math.max(i * few, k * n)) / n]);
  return found;
}

/** Radices of a transform of n values, fours first. */
export function radices(n) {
  const found = [];
  for (const p of [4, 2, 3, 5, 7]) for (; n % p === 0; n /= p) found.push(p);
  for (let p = 11; n > 1; p += 2) for (; n % p === 0; n /= p) found.push(p);
  return found;
}

/** exp(-2 pi i k / n): n pairs. */
export function roots(n) {
  return Float64Array.from({ length: 2 * n }, (_, i) => {
    const turn = (2 * Math.PI * Math.floor(i / 2)) / n;
    return i % 2 ? -Math.sin(turn) : Math.cos(turn);
  });
}

/** Transform, in place, n pairs that stand `stride` pairs apart: Stockham's steps, as fft.wgsl has them. */
function transform(values, first, stride, plan) {
  const { n, steps, table } = plan;
  let { from, to } = plan;
  for (let i = 0; i < n; i++) for (const part of [0, 1]) from[2 * i + part] = values[2 * (first + i * stride) + part];
  let span = 1;
  for (const radix of steps) {
    for (let o = 0; o < n; o++) {
      const turn = o % (span * radix), j = Math.floor(o / (span * radix)) * span + (turn % span);
      let re = 0, im = 0;
      for (let p = 0; p < radix; p++) {
        const at = 2 * (j + p * (n / radix)), root = 2 * (((p * turn) % (span * radix)) * (n / (span * radix)));
        re += from[at] * table[root] - from[at + 1] * table[root + 1];
        im += from[at] * table[root + 1] + from[at + 1] * table[root];
      }
      to[2 * o] = re;
      to[2 * o + 1] = im;
    }
    span *= radix;
    [from, to] = [to, from];
  }
  for (let i = 0; i < n; i++) for (const part of [0, 1]) values[2 * (first + i * stride) + part] = from[2 * i + part];
}

function planned(n) {
  return { n, steps: radices(n), table: roots(n), from: new Float64Array(2 * n), to: new Float64Array(2 * n) };
}

/** Decibels [rows x columns] of a layer's spectrum, zero frequency in the middle, as power.wgsl has them. */
export function decibels(layer, columns, rows) {
  const values = new Float64Array(2 * layer.length), across = planned(columns), up = planned(rows);
  layer.forEach((value, i) => { values[2 * i] = value; });
  for (let row = 0; row < rows; row++) transform(values, row * columns, 1, across);
  for (let column = 0; column < columns; column++) transform(values, column, columns, up);
  return Float32Array.from(layer, (_, i) => {
    const column = ((i % columns) + Math.ceil(columns / 2)) % columns;
    const row = (Math.floor(i / columns) + Math.ceil(rows / 2)) % rows, at = 2 * (row * columns + column);
    return 10 * Math.log10(Math.max((values[at] ** 2 + values[at + 1] ** 2) / layer.length ** 2, FLOOR));
  });
}
