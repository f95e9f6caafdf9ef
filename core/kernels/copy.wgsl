// Moves 32-bit values, whatever they mean, from one strided place to another.
//
// Sizes and strides are those of up to eight axes, the last one at index 7, with ones and zeros in front.
// Dispatch ceil(count / 256) workgroups, folded.

struct Copy {
  count: u32,
  source: u32,  // offsets, in values
  place: u32,
  rank: u32,
  sizes: array<vec4<u32>, 2>,
  from_strides: array<vec4<u32>, 2>,
  to_strides: array<vec4<u32>, 2>,
}

@group(0) @binding(0) var<uniform> u: Copy;
@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(2) var<storage, read_write> out: array<u32>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let i = (group.x + groups.x * group.y) * 256u + lane;
  if (i >= u.count) {
    return;
  }
  var rest = i;
  var source = u.source;
  var place = u.place;
  for (var back = 0u; back < u.rank; back++) {
    let axis = 7u - back;
    let n = u.sizes[axis / 4u][axis % 4u];
    let digit = rest % n;
    rest /= n;
    source += digit * u.from_strides[axis / 4u][axis % 4u];
    place += digit * u.to_strides[axis / 4u][axis % 4u];
  }
  out[place] = x[source];
}
