// The patches that a two-dimensional convolution sees, and the adjoint.
//
// `unfold`: x [N, height, width, C], with zeros around it, to patches [N, rows, columns, kernel_y * kernel_x * C].
// `fold`: adds patches up at their places of x. An invocation a value; dispatch ceil(values / 256) workgroups, folded.

struct Patches {
  batch: u32,
  height: u32,
  width: u32,
  channels: u32,
  rows: u32,
  columns: u32,
  kernel: vec2<u32>,  // down, across
  stride: vec2<u32>,
  padding: vec2<u32>,
}

@group(0) @binding(0) var<uniform> u: Patches;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(256)
fn unfold(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
          @builtin(local_invocation_index) lane: u32) {
  let i = (group.x + groups.x * group.y) * 256u + lane;
  let c = i % u.channels;
  let tap = i / u.channels % (u.kernel.x * u.kernel.y);
  let cell = i / u.channels / (u.kernel.x * u.kernel.y);
  let n = cell / u.columns / u.rows;
  if (n >= u.batch) {
    return;
  }
  // in the padding before the first row or column these wrap to far beyond the last
  let y = cell / u.columns % u.rows * u.stride.x + tap / u.kernel.y - u.padding.x;
  let across = cell % u.columns * u.stride.y + tap % u.kernel.y - u.padding.y;
  var value = 0.0;
  if (y < u.height && across < u.width) {
    value = x[((n * u.height + y) * u.width + across) * u.channels + c];
  }
  out[i] = value;
}

@compute @workgroup_size(256)
fn fold(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let i = (group.x + groups.x * group.y) * 256u + lane;
  let c = i % u.channels;
  let cell = i / u.channels;
  let n = cell / u.width / u.height;
  if (n >= u.batch) {
    return;
  }
  var sum = 0.0;
  for (var tap = 0u; tap < u.kernel.x * u.kernel.y; tap++) {
    // a patch holds this cell under this tap if it starts a whole number of strides from the edge
    let down = cell / u.width % u.height + u.padding.x - tap / u.kernel.y;
    let across = cell % u.width + u.padding.y - tap % u.kernel.y;
    if (down % u.stride.x == 0u && across % u.stride.y == 0u
        && down / u.stride.x < u.rows && across / u.stride.y < u.columns) {
      let patch_at = (n * u.rows + down / u.stride.x) * u.columns + across / u.stride.y;
      sum += x[(patch_at * u.kernel.x * u.kernel.y + tap) * u.channels + c];
    }
  }
  out[i] = sum;
}
