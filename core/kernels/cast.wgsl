// Between float32 and float16, two of these in a u32, by their bits: round to nearest, ties to even, as on the host.
//
// An invocation makes one pair. Dispatch ceil(pairs / 256) workgroups, folded.

struct Cast {
  count: u32,  // values
}

@group(0) @binding(0) var<uniform> u: Cast;
@group(0) @binding(1) var<storage, read> x: array<u32>;
@group(0) @binding(2) var<storage, read_write> out: array<u32>;

// v / 2^shift, rounded
fn rounded(v: u32, shift: u32) -> u32 {
  return (v + (1u << (shift - 1u)) - 1u + ((v >> shift) & 1u)) >> shift;
}

fn half(bits: u32) -> u32 {
  let sign = (bits >> 16u) & 0x8000u;
  let size = bits & 0x7fffffffu;
  if (size > 0x7f800000u) {
    return sign | 0x7e00u;  // NaN
  }
  if (size >= 0x477ff000u) {
    return sign | 0x7c00u;  // rounds to infinity
  }
  if (size >= 0x38800000u) {
    return sign | rounded(size - 0x38000000u, 13u);
  }
  let exponent = size >> 23u;  // below 2^-14: a multiple of 2^-24
  if (exponent < 102u) {
    return sign;
  }
  return sign | rounded((size & 0x7fffffu) | 0x800000u, 126u - exponent);
}

fn whole(bits: u32) -> u32 {
  let sign = (bits & 0x8000u) << 16u;
  let size = bits & 0x7fffu;
  if (size >= 0x7c00u) {
    return sign | 0x7f800000u | ((size & 0x3ffu) << 13u);
  }
  if (size >= 0x400u) {
    return sign | ((size << 13u) + 0x38000000u);
  }
  return sign | bitcast<u32>(f32(size) * 0x1p-24f);
}

@compute @workgroup_size(256)
fn pack(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let i = (group.x + groups.x * group.y) * 256u + lane;
  if (2u * i >= u.count) {
    return;
  }
  var pair = half(x[2u * i]);
  if (2u * i + 1u < u.count) {
    pair |= half(x[2u * i + 1u]) << 16u;
  }
  out[i] = pair;
}

@compute @workgroup_size(256)
fn unpack(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
          @builtin(local_invocation_index) lane: u32) {
  let i = (group.x + groups.x * group.y) * 256u + lane;
  if (2u * i >= u.count) {
    return;
  }
  out[2u * i] = whole(x[i] & 0xffffu);
  if (2u * i + 1u < u.count) {
    out[2u * i + 1u] = whole(x[i] >> 16u);
  }
}
