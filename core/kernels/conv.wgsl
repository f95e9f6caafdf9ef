// Depthwise causal convolution along T of x [N, T, C] by taps w [K, C], after a tail [N, reach, C], reach =
// (K - 1) dilation: y[t] = sum over k of w[k] x[t - k dilation]; and its gradients.
//
// `forward`: y. `backward`: at `length` places from t = -`before` on, the sum over k of w[k] g[t + k dilation], g inside
// [0, T): that of x (before = 0, length = T) or of the tail (before = length = reach). `weights`: sums of
// g[t] x[t - k dilation] over 256 of all N T steps each [ceil(N T / 256), K, C]. An invocation a value,
// in `forward` 8 values of a channel one after the other (batch ceil(T / 8) C invocations); 256 a workgroup, folded.

struct Conv {
  batch: u32,
  steps: u32,
  channels: u32,
  taps: u32,
  dilation: u32,
  before: u32,
  length: u32,
}

@group(0) @binding(0) var<uniform> u: Conv;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> tail: array<f32>;
@group(0) @binding(3) var<storage, read> w: array<f32>;  // in `weights` g
@group(0) @binding(4) var<storage, read_write> out: array<f32>;
@group(0) @binding(1) var<storage, read> g: array<f32>;  // of `backward`
@group(0) @binding(2) var<storage, read> taps: array<f32>;
@group(0) @binding(3) var<storage, read_write> slopes: array<f32>;

const LANES = 256u;
const STEPS = 256u;
const RUN = 8u;

// x, or what is before it, so many steps before t
fn earlier(n: u32, t: u32, lag: u32, c: u32) -> f32 {
  if (t >= lag) {
    return x[(n * u.steps + t - lag) * u.channels + c];
  }
  let reach = (u.taps - 1u) * u.dilation;
  return tail[(n * reach + reach + t - lag) * u.channels + c];
}

@compute @workgroup_size(256)
fn forward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
           @builtin(local_invocation_index) lane: u32) {
  let i = (group.x + groups.x * group.y) * LANES + lane;
  let c = i % u.channels;
  let runs = (u.steps + RUN - 1u) / RUN;
  let n = i / u.channels / runs;
  let t = i / u.channels % runs * RUN;
  if (n >= u.batch) {
    return;
  }
  let at = (n * u.steps + t) * u.channels + c;
  var sums = array<f32, RUN>();
  for (var k = 0u; k < u.taps; k++) {
    let lag = k * u.dilation;
    let tap = w[k * u.channels + c];
    if (t >= lag) {
      for (var j = 0u; j < RUN; j++) {  // what lies beyond the last step is not written
        sums[j] += tap * x[at - lag * u.channels + j * u.channels];
      }
    } else {
      for (var j = 0u; j < RUN; j++) {
        sums[j] += tap * earlier(n, t + j, lag, c);
      }
    }
  }
  for (var j = 0u; j < RUN; j++) {
    if (t + j < u.steps) {
      out[at + j * u.channels] = sums[j];
    }
  }
}

@compute @workgroup_size(256)
fn backward(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
            @builtin(local_invocation_index) lane: u32) {
  let i = (group.x + groups.x * group.y) * LANES + lane;
  if (i >= u.batch * u.length * u.channels) {
    return;
  }
  let c = i % u.channels;
  let row = i / u.channels;
  var sum = 0.0;
  for (var k = 0u; k < u.taps; k++) {
    let t = row % u.length + k * u.dilation - u.before;  // below 0 it wraps to far beyond the last step
    if (t < u.steps) {
      sum += taps[k * u.channels + c] * g[(row / u.length * u.steps + t) * u.channels + c];
    }
  }
  slopes[i] = sum;
}

@compute @workgroup_size(256)
fn weights(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
           @builtin(local_invocation_index) lane: u32) {
  let i = (group.x + groups.x * group.y) * LANES + lane;
  let c = i % u.channels;
  let k = i / u.channels % u.taps;
  let first = i / u.channels / u.taps * STEPS;
  var sum = 0.0;
  for (var row = first; row < min(first + STEPS, u.batch * u.steps); row++) {
    sum += w[row * u.channels + c] * earlier(row / u.steps, row % u.steps, k * u.dilation, c);
  }
  if (first < u.batch * u.steps) {
    out[i] = sum;
  }
}
