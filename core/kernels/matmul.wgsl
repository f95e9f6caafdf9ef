// out[b, m, n] = sum over k of x[b, m, k] y[b, k, n], with any strides: a transposed or broadcast operand is no copy.
//
// A workgroup makes a tile of 64 x 64, an invocation 8 x 8 of it; 16 values of k at a time pass through shared memory.
// The sum over k may be cut into parts of `part` values, a result each: `out` is [b, parts, m, n] then.
// Dispatch (ceil(n / 64), ceil(m / 64), batches * parts).

struct Product {
  m: u32,
  n: u32,
  k: u32,
  part: u32,  // values of k in a part
  parts: u32,
  x_offset: u32,
  y_offset: u32,
  x_row: u32,  // strides
  x_k: u32,
  y_k: u32,
  y_column: u32,
  padding: u32,
  sizes: vec4<u32>,  // of the batch axes
  x_strides: vec4<u32>,
  y_strides: vec4<u32>,
}

@group(0) @binding(0) var<uniform> u: Product;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> y: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;

const TILE = 64u;
const DEPTH = 16u;
const PITCH = 17u;  // vec4s a row of shared memory: one more than there are, against bank conflicts
var<workgroup> left: array<vec4<f32>, DEPTH * PITCH>;
var<workgroup> right: array<vec4<f32>, DEPTH * PITCH>;

// one value, zero outside the matrix or the part
fn left_value(base: u32, row: u32, k: u32, stop: u32) -> f32 {
  let inside = row < u.m && k < stop;
  return select(0.0, x[select(0u, base + row * u.x_row + k * u.x_k, inside)], inside);
}

fn right_value(base: u32, column: u32, k: u32, stop: u32) -> f32 {
  let inside = column < u.n && k < stop;
  return select(0.0, y[select(0u, base + k * u.y_k + column * u.y_column, inside)], inside);
}

fn outer(a: vec4<f32>, b: vec4<f32>) -> mat4x4<f32> {
  return mat4x4<f32>(a.x * b, a.y * b, a.z * b, a.w * b);
}

fn store(at: u32, row: u32, column: u32, block: mat4x4<f32>) {
  for (var i = 0u; i < 4u; i++) {
    for (var j = 0u; j < 4u; j++) {
      if (row + i < u.m && column + j < u.n) {
        out[(at * u.m + row + i) * u.n + column + j] = block[i][j];
      }
    }
  }
}

@compute @workgroup_size(8, 8)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let batch = group.z / u.parts;
  let first = (group.z % u.parts) * u.part;
  let stop = min(first + u.part, u.k);
  var x_base = u.x_offset;
  var y_base = u.y_offset;
  var rest = batch;
  for (var back = 0u; back < 4u; back++) {
    let axis = 3u - back;
    x_base += (rest % u.sizes[axis]) * u.x_strides[axis];
    y_base += (rest % u.sizes[axis]) * u.y_strides[axis];
    rest /= u.sizes[axis];
  }
  var block00 = mat4x4<f32>();
  var block01 = mat4x4<f32>();
  var block10 = mat4x4<f32>();
  var block11 = mat4x4<f32>();
  for (var start = first; start < stop; start += DEPTH) {
    for (var slot = lane; slot < 16u * DEPTH; slot += 64u) {
      // neighbouring lanes read along k where that is the shorter step in memory, else across
      let place = vec2<u32>(slot % 16u, slot / 16u);
      let p = select(place, place.yx, u.x_k < u.x_row);
      let row = group.y * TILE + 4u * p.x;
      left[p.y * PITCH + p.x] = vec4<f32>(
        left_value(x_base, row, start + p.y, stop), left_value(x_base, row + 1u, start + p.y, stop),
        left_value(x_base, row + 2u, start + p.y, stop), left_value(x_base, row + 3u, start + p.y, stop));
      let q = select(place, place.yx, u.y_k < u.y_column);
      let column = group.x * TILE + 4u * q.x;
      right[q.y * PITCH + q.x] = vec4<f32>(
        right_value(y_base, column, start + q.y, stop), right_value(y_base, column + 1u, start + q.y, stop),
        right_value(y_base, column + 2u, start + q.y, stop), right_value(y_base, column + 3u, start + q.y, stop));
    }
    workgroupBarrier();
    for (var d = 0u; d < DEPTH; d++) {
      let a0 = left[d * PITCH + local.y];
      let a1 = left[d * PITCH + local.y + 8u];
      let b0 = right[d * PITCH + local.x];
      let b1 = right[d * PITCH + local.x + 8u];
      block00 += outer(a0, b0);
      block01 += outer(a0, b1);
      block10 += outer(a1, b0);
      block11 += outer(a1, b1);
    }
    workgroupBarrier();
  }
  let row = group.y * TILE + 4u * local.y;
  let column = group.x * TILE + 4u * local.x;
  store(group.z, row, column, block00);
  store(group.z, row, column + 32u, block01);
  store(group.z, row + 32u, column, block10);
  store(group.z, row + 32u, column + 32u, block11);
}
