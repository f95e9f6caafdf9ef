// Cross-entropy of the rows of logits [rows, width] against one target a row, in nats, and its gradient.
//
// `loss`: log sum exp(logits) - logits[target]; NaN where a target lies outside the row.
// `gradient`: g (softmax(logits) - one-hot(target)).
// `lanes` invocations (a power of two) a row keep the largest logit so far and the sum of exponentials against it, in
// steps, then join in a tree. Dispatch ceil(rows * lanes / 256) workgroups, folded.

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
var<workgroup> partial: array<vec2<f32>, LANES>;

// of (largest, sum of exp(value - largest)) over two sets of values
fn join(a: vec2<f32>, b: vec2<f32>) -> vec2<f32> {
  let top = max(a.x, b.x);
  return vec2<f32>(top, a.y * exp(a.x - top) + b.y * exp(b.x - top));
}

fn row_of(group: vec3<u32>, groups: vec3<u32>, lane: u32) -> u32 {
  return (group.x + groups.x * group.y) * (LANES / u.lanes) + lane / u.lanes;
}

fn joined(row: u32, lane: u32) -> vec2<f32> {
  var folded = vec2<f32>(LOWEST, 0.0);
  if (row < u.rows) {
    for (var j = lane % u.lanes; j < u.width; j += u.lanes) {
      folded = join(folded, vec2<f32>(logits[row * u.width + j], 1.0));
    }
  }
  partial[lane] = folded;
  workgroupBarrier();
  for (var half = u.lanes / 2u; half > 0u; half /= 2u) {
    if (lane % u.lanes < half) {
      partial[lane] = join(partial[lane], partial[lane + half]);
    }
    workgroupBarrier();
  }
  return partial[lane - lane % u.lanes];
}

@compute @workgroup_size(256)
fn loss(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let row = row_of(group, groups, lane);
  let all = joined(row, lane);
  if (lane % u.lanes == 0u && row < u.rows) {
    let place = u32(targets[row]);  // below 0: far outside
    let target_logit = logits[row * u.width + min(place, u.width - 1u)];
    losses[row] = select(0x7fc00000u, bitcast<u32>(log(all.y) + (all.x - target_logit)), place < u.width);
  }
}

@compute @workgroup_size(256)
fn gradient(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
            @builtin(local_invocation_index) lane: u32) {
  let row = row_of(group, groups, lane);
  let all = joined(row, lane);
  if (row < u.rows) {
    for (var j = lane % u.lanes; j < u.width; j += u.lanes) {
      let hit = select(0.0, 1.0, i32(j) == targets[row]);
      slopes[row * u.width + j] = g[row] * (exp(logits[row * u.width + j] - all.x) / all.y - hit);
    }
  }
}
