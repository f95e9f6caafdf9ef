// Normalise and colour: the measured field under the painted layer, as packed RGBA8 pixels.
//
// The field (bands x sheets, nearest cell) goes through the first table over [low, high]; the painted layer (width x
// height, bilinear, cyclic in x) goes through the second over [-3, 3] and covers the field by |value| / 3 times the
// table's alpha. Tables have 256 RGBA8 entries, read linearly and clamped at the ends. Both inputs have row 0 as the
// lowest band, pixels have row 0 on top. Pixel rows are `stride` pixels long, a multiple of 4.
// Places are counted in whole numbers, so that no rounding moves a pixel into the next cell.
// Dispatch (ceil(stride / 256), rows) workgroups.

struct Picture {
  width: u32,
  height: u32,
  bands: u32,
  sheets: u32,
  columns: u32,
  rows: u32,
  stride: u32,
  low: f32,
  high: f32,
}

@group(0) @binding(0) var<uniform> picture: Picture;
@group(0) @binding(1) var<storage, read> painted: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> field: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> tables: array<vec4<u32>>;  // 2 x 64: the field's table, then the painted one
@group(0) @binding(4) var<storage, read_write> pixels: array<vec4<u32>>;

const LIMIT = 3.0;  // log2 gain

fn entry(at: u32) -> vec4<f32> {
  return unpack4x8unorm(tables[at / 4u][at % 4u]);
}

fn look_up(first: u32, value: f32, low: f32, high: f32) -> vec4<f32> {
  let place = clamp((value - low) / (high - low), 0.0, 1.0) * 255.0;
  let index = min(u32(place), 254u);
  return mix(entry(first + index), entry(first + index + 1u), place - f32(index));
}

fn painted_at(x: u32, y: u32) -> f32 {
  let cell = y * picture.width + x;
  return painted[cell / 4u][cell % 4u];
}

fn bilinear(column: u32, row: u32) -> f32 {
  // half-cell places over 2 * columns and 2 * rows, moved up by one period or one cell to stay above zero
  let x = (2u * column + 1u) * picture.width + (2u * picture.width - 1u) * picture.columns;
  let y = (2u * row + 1u) * picture.height + picture.rows;
  let left = (x / (2u * picture.columns)) % picture.width;
  let right = (left + 1u) % picture.width;
  let above = y / (2u * picture.rows);
  let low = max(above, 1u) - 1u;
  let high = min(above, picture.height - 1u);
  let along = f32(x % (2u * picture.columns)) / f32(2u * picture.columns);
  let up = f32(y % (2u * picture.rows)) / f32(2u * picture.rows);
  return mix(mix(painted_at(left, low), painted_at(right, low), along),
             mix(painted_at(left, high), painted_at(right, high), along), up);
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (4u * id.x >= picture.stride || id.y >= picture.rows) {
    return;
  }
  let row = picture.rows - 1u - id.y;
  let band = (2u * row + 1u) * picture.bands / (2u * picture.rows);
  var packed = vec4<u32>();
  for (var k = 0u; k < 4u; k++) {
    let column = min(4u * id.x + k, picture.columns - 1u);  // the rest of a row is padding
    let cell = band * picture.sheets + (2u * column + 1u) * picture.sheets / (2u * picture.columns);
    let base = look_up(0u, field[cell / 4u][cell % 4u], picture.low, picture.high);
    let value = bilinear(column, row);
    let paint = look_up(256u, value, -LIMIT, LIMIT);
    let cover = min(abs(value) / LIMIT, 1.0) * paint.a;
    packed[k] = pack4x8unorm(vec4<f32>(mix(base.rgb, paint.rgb, cover), 1.0));
  }
  pixels[id.y * (picture.stride / 4u) + id.x] = packed;
}
