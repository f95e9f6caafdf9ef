// Decibels of a picture's spectrum, zero frequency in the middle: 10 log10 of |X / (columns rows)|^2, from -120 on. The
// constant 1 has 0 dB. Frequencies rise along columns and rows, those below zero come first.
// Dispatch ceil(columns * rows / 256) workgroups.

struct Spectrum {
  columns: u32,
  rows: u32,
}

@group(0) @binding(0) var<uniform> spectrum: Spectrum;
@group(0) @binding(1) var<storage, read> values: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read_write> decibels: array<f32>;

const FLOOR = 1e-12;
const TENS = 3.0102999566398120;  // 10 log10(2)

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x >= spectrum.columns * spectrum.rows) {
    return;
  }
  let column = (id.x % spectrum.columns + (spectrum.columns + 1u) / 2u) % spectrum.columns;
  let row = (id.x / spectrum.columns + (spectrum.rows + 1u) / 2u) % spectrum.rows;
  let value = values[row * spectrum.columns + column] / f32(spectrum.columns * spectrum.rows);
  decibels[id.x] = TENS * log2(max(dot(value, value), FLOOR));
}
