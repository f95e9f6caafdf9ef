// Two arrays visited by strides at once: `copy` moves 32-bit values, whatever they mean, from the first to the second;
// `product` makes a b, or a conj(b), of complex numbers (pairs along one more axis), broadcast.
//
// Sizes and strides, in values, are those of up to eight axes, the last one at index 7, with ones and zeros in front.
// An invocation a value, or a product; dispatch ceil(count / 256) workgroups, folded.

override conjugate = false;

struct Walk {
  count: u32,
  rank: u32,
  offsets: vec2<u32>,
  steps: vec2<u32>,  // of `product`, from a real part to its imaginary one
  padding: vec2<u32>,
  sizes: array<vec4<u32>, 2>,
  first: array<vec4<u32>, 2>,
  second: array<vec4<u32>, 2>,
}

@group(0) @binding(0) var<uniform> u: Walk;
@group(0) @binding(1) var<storage, read> x: array<u32>;  // of `copy`
@group(0) @binding(2) var<storage, read_write> moved: array<u32>;
@group(0) @binding(1) var<storage, read> a: array<f32>;  // of `product`
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;

fn places(i: u32) -> vec2<u32> {
  var rest = i;
  var found = u.offsets;
  for (var back = 0u; back < u.rank; back++) {
    let axis = 7u - back;
    let n = u.sizes[axis / 4u][axis % 4u];
    found += rest % n * vec2<u32>(u.first[axis / 4u][axis % 4u], u.second[axis / 4u][axis % 4u]);
    rest /= n;
  }
  return found;
}

@compute @workgroup_size(256)
fn copy(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let i = (group.x + groups.x * group.y) * 256u + lane;
  if (i < u.count) {
    let place = places(i);
    moved[place.y] = x[place.x];
  }
}

@compute @workgroup_size(256)
fn product(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
           @builtin(local_invocation_index) lane: u32) {
  let i = (group.x + groups.x * group.y) * 256u + lane;
  if (i < u.count) {
    let at = places(i);
    let p = vec2<f32>(a[at.x], a[at.x + u.steps.x]);
    var q = vec2<f32>(b[at.y], b[at.y + u.steps.y]);
    if (conjugate) {
      q.y = -q.y;
    }
    out[2u * i] = p.x * q.x - p.y * q.y;
    out[2u * i + 1u] = p.x * q.y + p.y * q.x;
  }
}
