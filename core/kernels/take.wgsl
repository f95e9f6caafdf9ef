// Picks values, whatever they mean, at an index; an index outside is held at the nearest end.
//
// `rows`: out[i, c] = table[index[i], c], columns wide. `along`: out[r, j] = table[r, index[r, j]], width indices a row.
// Dispatch ceil(count / 256) workgroups, folded.

struct Take {
  count: u32,  // values of the result
  width: u32,
  size: u32,  // along the axis that is indexed
}

@group(0) @binding(0) var<uniform> u: Take;
@group(0) @binding(1) var<storage, read> table: array<u32>;
@group(0) @binding(2) var<storage, read> index: array<i32>;
@group(0) @binding(3) var<storage, read_write> out: array<u32>;

fn held(i: i32) -> u32 {
  return u32(clamp(i, 0, i32(u.size) - 1));
}

@compute @workgroup_size(256)
fn rows(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let i = (group.x + groups.x * group.y) * 256u + lane;
  if (i < u.count) {
    out[i] = table[held(index[i / u.width]) * u.width + i % u.width];
  }
}

@compute @workgroup_size(256)
fn along(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
         @builtin(local_invocation_index) lane: u32) {
  let i = (group.x + groups.x * group.y) * 256u + lane;
  if (i < u.count) {
    out[i] = table[(i / u.width) * u.size + held(index[i])];
  }
}
