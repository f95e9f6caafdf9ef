// Zeros. Dispatch ceil(count / 256) workgroups, folded.

struct Fill {
  count: u32,
}

@group(0) @binding(0) var<uniform> u: Fill;
@group(0) @binding(1) var<storage, read_write> out: array<u32>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let i = (group.x + groups.x * group.y) * 256u + lane;
  if (i < u.count) {
    out[i] = 0u;
  }
}
