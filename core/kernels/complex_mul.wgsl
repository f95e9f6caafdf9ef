// Products a b, or a conj(b), of complex numbers (pairs along a last axis), broadcast by strides.
//
// Sizes and strides, in values, are those of up to eight axes before the last, the last one at index 7, with ones and
// zeros in front. An invocation a product; dispatch ceil(count / 256) workgroups, folded.

override conjugate = false;

struct Product {
  count: u32,
  rank: u32,
  a_offset: u32,
  b_offset: u32,
  a_step: u32,  // from a real part to its imaginary one
  b_step: u32,
  padding: vec2<u32>,
  sizes: array<vec4<u32>, 2>,
  a_strides: array<vec4<u32>, 2>,
  b_strides: array<vec4<u32>, 2>,
}

@group(0) @binding(0) var<uniform> u: Product;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let i = (group.x + groups.x * group.y) * 256u + lane;
  if (i >= u.count) {
    return;
  }
  var rest = i;
  var a_place = u.a_offset;
  var b_place = u.b_offset;
  for (var back = 0u; back < u.rank; back++) {
    let axis = 7u - back;
    let n = u.sizes[axis / 4u][axis % 4u];
    let digit = rest % n;
    rest /= n;
    a_place += digit * u.a_strides[axis / 4u][axis % 4u];
    b_place += digit * u.b_strides[axis / 4u][axis % 4u];
  }
  let p = vec2<f32>(a[a_place], a[a_place + u.a_step]);
  var q = vec2<f32>(b[b_place], b[b_place + u.b_step]);
  if (conjugate) {
    q.y = -q.y;
  }
  out[2u * i] = p.x * q.x - p.y * q.y;
  out[2u * i + 1u] = p.x * q.y + p.y * q.x;
}
