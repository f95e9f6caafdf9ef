// out[b, m, n] = sum over k of x[b, m, k] y[b, k, n], with any strides: a transposed or broadcast operand is no copy.
//
// A workgroup of side x side invocations makes a tile of 8 side x 8 side, an invocation 8 x 8 of it: every side-th row and
// column. side / 2 values of k at a time pass through shared memory, where an invocation puts four of each matrix; it
// fetches the next ones meanwhile. The sum over k may be cut into parts of `part` values, a result each: `out` is
// [b, parts, m, n] then. Dispatch (ceil(n / (8 side)), ceil(m / (8 side)), batches * parts).

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

override side = 8u;  // at most 16; how the sum is added up does not depend on it

const PITCH = 33u;  // vec4s a row of shared memory: one more than there are at most, against bank conflicts
var<workgroup> left: array<vec4<f32>, 8u * PITCH>;
var<workgroup> right: array<vec4<f32>, 8u * PITCH>;

// how many of four rows or columns, `step` apart, lie inside the matrix
fn inside(first: u32, step: u32, size: u32) -> u32 {
  return min((max(size, first) - first + step - 1u) / step, 4u);
}

// the first `count` of four values, zeros after them
fn fetch_left(at: u32, step: u32, count: u32) -> vec4<f32> {
  if (count == 4u) {
    return vec4<f32>(x[at], x[at + step], x[at + 2u * step], x[at + 3u * step]);
  }
  var found = vec4<f32>();
  for (var i = 0u; i < count; i++) {
    found[i] = x[at + i * step];
  }
  return found;
}

fn fetch_right(at: u32, step: u32, count: u32) -> vec4<f32> {
  if (count == 4u) {
    return vec4<f32>(y[at], y[at + step], y[at + 2u * step], y[at + 3u * step]);
  }
  var found = vec4<f32>();
  for (var i = 0u; i < count; i++) {
    found[i] = y[at + i * step];
  }
  return found;
}

fn add_outer(block: mat4x4<f32>, a: vec4<f32>, b: vec4<f32>) -> mat4x4<f32> {
  return mat4x4<f32>(fma(vec4<f32>(a.x), b, block[0]), fma(vec4<f32>(a.y), b, block[1]),
                     fma(vec4<f32>(a.z), b, block[2]), fma(vec4<f32>(a.w), b, block[3]));
}

fn store(at: u32, row: u32, column: u32, block: mat4x4<f32>) {
  for (var i = 0u; i < 4u; i++) {
    for (var j = 0u; j < 4u; j++) {
      let place = vec2<u32>(row + 2u * side * i, column + 2u * side * j);
      if (place.x < u.m && place.y < u.n) {
        out[(at * u.m + place.x) * u.n + place.y] = block[i][j];
      }
    }
  }
}

@compute @workgroup_size(side, side)
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
  let corner = vec2<u32>(group.y, group.x) * 8u * side;
  let across = 2u * side;  // vec4s, and how far apart the values of one are
  let depth = side / 2u;
  // what this invocation fetches, (place, k): neighbours read along k where that is the shorter step in memory
  let wide = vec2<u32>(lane % across, lane / across);
  let deep = vec2<u32>(lane / depth, lane % depth);
  let p = select(wide, deep, u.x_k < u.x_row);
  let q = select(wide, deep, u.y_k < u.y_column);
  let rows = inside(corner.x + p.x, across, u.m);
  let columns = inside(corner.y + q.x, across, u.n);
  var x_at = x_base + (corner.x + p.x) * u.x_row + (first + p.y) * u.x_k;
  var y_at = y_base + (corner.y + q.x) * u.y_column + (first + q.y) * u.y_k;
  var a = fetch_left(x_at, across * u.x_row, select(0u, rows, first + p.y < stop));
  var b = fetch_right(y_at, across * u.y_column, select(0u, columns, first + q.y < stop));
  var block00 = mat4x4<f32>();
  var block01 = mat4x4<f32>();
  var block10 = mat4x4<f32>();
  var block11 = mat4x4<f32>();
  for (var start = first; start < stop; start += depth) {
    left[p.y * PITCH + p.x] = a;
    right[q.y * PITCH + q.x] = b;
    workgroupBarrier();
    x_at += depth * u.x_k;
    y_at += depth * u.y_k;
    a = fetch_left(x_at, across * u.x_row, select(0u, rows, start + depth + p.y < stop));
    b = fetch_right(y_at, across * u.y_column, select(0u, columns, start + depth + q.y < stop));
    for (var d = 0u; d < depth; d++) {
      let a0 = left[d * PITCH + local.y];
      let a1 = left[d * PITCH + local.y + side];
      let b0 = right[d * PITCH + local.x];
      let b1 = right[d * PITCH + local.x + side];
      block00 = add_outer(block00, a0, b0);
      block01 = add_outer(block01, a0, b1);
      block10 = add_outer(block10, a1, b0);
      block11 = add_outer(block11, a1, b1);
    }
    workgroupBarrier();
  }
  let row = corner.x + local.y;
  let column = corner.y + local.x;
  store(group.z, row, column, block00);
  store(group.z, row, column + side, block01);
  store(group.z, row + side, column, block10);
  store(group.z, row + side, column + side, block11);
}
