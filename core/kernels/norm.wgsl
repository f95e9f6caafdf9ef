// Root-mean-square and layer norms over the rows of x [rows, width], and their gradients.
//
// With z = (x - mean) r, r = 1 / sqrt(mean square of x - mean + epsilon), where the mean is 0 unless `centred`:
// `forward`: z w, + b if centred. `backward`: r (g w - mean(g w) - z mean(g w z)), its middle term only if centred.
// `moments`: (mean, r) of each row. `weights`: sums of g z over 64 rows each [ceil(rows / 64), width].
// The first three: `lanes` invocations (a power of two) a row, in steps, then a tree; each keeps its first `held` values
// of x, and reads the others of a longer row again. Dispatch ceil(rows * lanes / 256) workgroups.
// `weights`: an invocation a sum; ceil(sums / 256) workgroups. All folded.

override centred = false;
override held = 32u;

struct Norm {
  rows: u32,
  width: u32,
  lanes: u32,
  epsilon: f32,
}

@group(0) @binding(0) var<uniform> u: Norm;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> w: array<f32>;  // in `weights` the moments, in pairs
@group(0) @binding(3) var<storage, read> y: array<f32>;  // b forward, g in the gradients
@group(0) @binding(4) var<storage, read_write> out: array<f32>;
@group(0) @binding(2) var<storage, read_write> pairs: array<f32>;  // of `moments`

const LANES = 256u;
const ROWS = 64u;
var<workgroup> partial: array<vec2<f32>, LANES>;
var<private> own: array<f32, 32>;

struct Row {
  start: u32,
  stop: u32,  // no further than the start for a row beyond the last
}

fn row_of(group: vec3<u32>, groups: vec3<u32>, lane: u32) -> Row {
  let row = (group.x + groups.x * group.y) * (LANES / u.lanes) + lane / u.lanes;
  return Row(row * u.width, select(0u, (row + 1u) * u.width, row < u.rows));
}

// the sum over the lanes of a row, for each of them
fn total(lane: u32, value: vec2<f32>) -> vec2<f32> {
  partial[lane] = value;
  workgroupBarrier();
  for (var half = u.lanes / 2u; half > 0u; half /= 2u) {
    if (lane % u.lanes < half) {
      partial[lane] += partial[lane + half];
    }
    workgroupBarrier();
  }
  let sum = partial[lane - lane % u.lanes];
  workgroupBarrier();  // the next sum starts in the same place
  return sum;
}

// mean and r, each value of x being read once and kept
fn moments_of(row: Row, lane: u32) -> vec2<f32> {
  let first = row.start + lane % u.lanes;
  let beyond = first + held * u.lanes;
  var sum = 0.0;
  for (var k = 0u; k < held; k++) {
    let i = first + k * u.lanes;
    own[k] = 0.0;
    if (i < row.stop) {
      own[k] = x[i];
    }
    sum += own[k];
  }
  var mean = 0.0;
  if (centred) {
    for (var i = beyond; i < row.stop; i += u.lanes) {
      sum += x[i];
    }
    mean = total(lane, vec2<f32>(sum, 0.0)).x / f32(u.width);
  }
  var squares = 0.0;
  for (var k = 0u; k < held; k++) {
    if (first + k * u.lanes < row.stop) {
      squares += (own[k] - mean) * (own[k] - mean);
    }
  }
  for (var i = beyond; i < row.stop; i += u.lanes) {
    squares += (x[i] - mean) * (x[i] - mean);
  }
  return vec2<f32>(mean, inverseSqrt(total(lane, vec2<f32>(squares, 0.0)).x / f32(u.width) + u.epsilon));
}

fn scaled(value: f32, m: vec2<f32>, column: u32) -> f32 {
  return (value - m.x) * m.y * w[column] + select(0.0, y[column], centred);
}

@compute @workgroup_size(256)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
           @builtin(local_invocation_index) lane: u32) {
  let row = row_of(group, groups, lane);
  let m = moments_of(row, lane);
  let first = row.start + lane % u.lanes;
  for (var k = 0u; k < held; k++) {
    let i = first + k * u.lanes;
    if (i < row.stop) {
      out[i] = scaled(own[k], m, i - row.start);
    }
  }
  for (var i = first + held * u.lanes; i < row.stop; i += u.lanes) {
    out[i] = scaled(x[i], m, i - row.start);
  }
}

@compute @workgroup_size(256)
fn backward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
            @builtin(local_invocation_index) lane: u32) {
  let row = row_of(group, groups, lane);
  let m = moments_of(row, lane);
  var sums = vec2<f32>();
  for (var i = row.start + lane % u.lanes; i < row.stop; i += u.lanes) {
    sums += y[i] * w[i - row.start] * vec2<f32>(1.0, (x[i] - m.x) * m.y);
  }
  let means = total(lane, sums) / f32(u.width);
  let level = select(0.0, means.x, centred);
  for (var i = row.start + lane % u.lanes; i < row.stop; i += u.lanes) {
    out[i] = m.y * (y[i] * w[i - row.start] - level - (x[i] - m.x) * m.y * means.y);
  }
}

@compute @workgroup_size(256)
fn moments(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
           @builtin(local_invocation_index) lane: u32) {
  let row = row_of(group, groups, lane);
  let m = moments_of(row, lane);
  if (lane % u.lanes == 0u && row.start < row.stop) {
    pairs[2u * (row.start / u.width)] = m.x;
    pairs[2u * (row.start / u.width) + 1u] = m.y;
  }
}

@compute @workgroup_size(256)
fn weights(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
           @builtin(local_invocation_index) lane: u32) {
  let i = (group.x + groups.x * group.y) * LANES + lane;
  let first = i / u.width * ROWS;
  if (first >= u.rows) {
    return;
  }
  var sum = 0.0;
  for (var row = first; row < min(first + ROWS, u.rows); row++) {
    let at = row * u.width + i % u.width;
    sum += y[at] * (x[at] - w[2u * row]) * w[2u * row + 1u];
  }
  out[i] = sum;
}
