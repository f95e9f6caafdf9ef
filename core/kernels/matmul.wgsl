// out[b, m, n] = sum over k of x[b, m, k] y[b, k, n], with any strides: a transposed or broadcast operand is no copy.
//
// A workgroup makes a tile of 64 x 64, an invocation 4 x 4 of it; 16 values of k at a time pass through shared memory.
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

// four values across a tile at one k, zeros outside the matrix
fn left_values(base: u32, row: u32, k: u32, stop: u32) -> vec4<f32> {
  var v = vec4<f32>();
  for (var i = 0u; i < 4u; i++) {
    if (row + i < u.m && k < stop) {
      v[i] = x[base + (row + i) * u.x_row + k * u.x_k];
    }
  }
  return v;
}

fn right_values(base: u32, column: u32, k: u32, stop: u32) -> vec4<f32> {
  var v = vec4<f32>();
  for (var i = 0u; i < 4u; i++) {
    if (column + i < u.n && k < stop) {
      v[i] = y[base + k * u.y_k + (column + i) * u.y_column];
    }
  }
  return v;
}

@compute @workgroup_size(16, 16)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
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
  // neighbouring lanes read along k where that is the shorter step in memory, else across
  let x_place = select(local.xy, local.yx, u.x_k < u.x_row);
  let y_place = select(local.xy, local.yx, u.y_k < u.y_column);
  var sums = array<vec4<f32>, 4>();
  for (var k = first; k < stop; k += DEPTH) {
    left[x_place.y * PITCH + x_place.x] = left_values(x_base, group.y * TILE + 4u * x_place.x, k + x_place.y, stop);
    right[y_place.y * PITCH + y_place.x] = right_values(y_base, group.x * TILE + 4u * y_place.x, k + y_place.y, stop);
    workgroupBarrier();
    for (var d = 0u; d < DEPTH; d++) {
      let a = left[d * PITCH + local.y];
      let b = right[d * PITCH + local.x];
      sums[0] += a.x * b;
      sums[1] += a.y * b;
      sums[2] += a.z * b;
      sums[3] += a.w * b;
    }
    workgroupBarrier();
  }
  for (var i = 0u; i < 4u; i++) {
    let row = group.y * TILE + 4u * local.y + i;
    for (var j = 0u; j < 4u; j++) {
      let column = group.x * TILE + 4u * local.x + j;
      if (row < u.m && column < u.n) {
        out[(group.z * u.m + row) * u.n + column] = sums[i][j];
      }
    }
  }
}
