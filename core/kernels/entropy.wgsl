// Cross-entropy of the rows of logits [rows, width] against one target a row, in nats, and its gradient.
//
// `loss`: log sum exp(logits) - logits[target]; NaN where a target lies outside the row.
// `gradient`: g (softmax(logits) - one-hot(target)).
// `lanes` invocations (a power of two) a row find its largest logit, then the sum of exponentials against it: in steps,
// then a tree. Each keeps its first `held` logits, and reads the others of a longer row again. Dispatch
// ceil(rows * lanes / 256) workgroups, folded.

override held = 32u;

struct Entropy {
  rows: u32,
  width: u32,
  lanes: u32,
}

@group(0) @binding(0) var<uniform> u: Entropy;
@group(0) @binding(1) var<storage, read> logits: array<f32>;
@group(0) @binding(2) var<storage, read> targets: array<i32>;
@group(0) @binding(3) var<storage, read> g: array<f32>;  // of `gradient`
@group(0) @binding(4) var<storage, read_write> slopes: array<f32>;
@group(0) @binding(3) var<storage, read_write> losses: array<u32>;  // of `loss`, the bits: no float may be a NaN

const LANES = 256u;
const LOWEST = -0x1.fffffep+127f;
var<workgroup> partial: array<f32, LANES>;
var<private> own: array<f32, 32>;

struct Whole {
  top: f32,  // largest logit of a row
  sum: f32,  // of exp(logit - top)
}

fn row_of(group: vec3<u32>, groups: vec3<u32>, lane: u32) -> u32 {
  return (group.x + groups.x * group.y) * (LANES / u.lanes) + lane / u.lanes;
}

// over the lanes of a row, for each of them
fn largest(lane: u32, value: f32) -> f32 {
  partial[lane] = value;
  workgroupBarrier();
  for (var half = u.lanes / 2u; half > 0u; half /= 2u) {
    if (lane % u.lanes < half) {
      partial[lane] = max(partial[lane], partial[lane + half]);
    }
    workgroupBarrier();
  }
  let top = partial[lane - lane % u.lanes];
  workgroupBarrier();  // the sum starts in the same place
  return top;
}

fn total(lane: u32, value: f32) -> f32 {
  partial[lane] = value;
  workgroupBarrier();
  for (var half = u.lanes / 2u; half > 0u; half /= 2u) {
    if (lane % u.lanes < half) {
      partial[lane] += partial[lane + half];
    }
    workgroupBarrier();
  }
  return partial[lane - lane % u.lanes];
}

fn whole(row: u32, lane: u32) -> Whole {
  let first = row * u.width + lane % u.lanes;
  let stop = select(0u, (row + 1u) * u.width, row < u.rows);
  let beyond = first + held * u.lanes;
  var top = LOWEST;
  for (var k = 0u; k < held; k++) {
    own[k] = LOWEST;
    if (first + k * u.lanes < stop) {
      own[k] = logits[first + k * u.lanes];
    }
    top = max(top, own[k]);
  }
  for (var i = beyond; i < stop; i += u.lanes) {
    top = max(top, logits[i]);
  }
  top = largest(lane, top);
  var sum = 0.0;
  for (var k = 0u; k < held; k++) {
    sum += select(0.0, exp(own[k] - top), first + k * u.lanes < stop);
  }
  for (var i = beyond; i < stop; i += u.lanes) {
    sum += exp(logits[i] - top);
  }
  return Whole(top, total(lane, sum));
}

@compute @workgroup_size(256)
fn loss(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let row = row_of(group, groups, lane);
  let all = whole(row, lane);
  if (lane % u.lanes == 0u && row < u.rows) {
    let place = u32(targets[row]);  // below 0: far outside
    let target_logit = logits[row * u.width + min(place, u.width - 1u)];
    losses[row] = select(0x7fc00000u, bitcast<u32>(log(all.sum) + (all.top - target_logit)), place < u.width);
  }
}

@compute @workgroup_size(256)
fn gradient(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
            @builtin(local_invocation_index) lane: u32) {
  let row = row_of(group, groups, lane);
  let all = whole(row, lane);
  if (row < u.rows) {
    for (var j = lane % u.lanes; j < u.width; j += u.lanes) {
      let hit = select(0.0, 1.0, i32(j) == targets[row]);
      slopes[row * u.width + j] = g[row] * (exp(logits[row * u.width + j] - all.top) / all.sum - hit);
    }
  }
}
