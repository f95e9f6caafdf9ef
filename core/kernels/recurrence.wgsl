// h[t] = a[t] h[t-1] + b[t] along T of a, b [N, T, C], real or complex (pairs), from h[-1]; or, `reverse`, its adjoint
// s[t] = conj(a[t+1]) s[t+1] + b[t] from 0.
//
// Reduce, then scan: T is cut into chunks in the order of the walk, and in each an invocation a sequence and channel
// steps through (neighbours are channels, so loads coalesce):
// `ends`: product of a, and h at the end from 0, of each chunk [N, chunks, C]; ceil(N * chunks * C / 256) workgroups.
// `carries`: h before each chunk, in place of its end; ceil(N * C / 256).
// `replay`: h of each chunk from its carry; as `ends`. With one chunk only this one runs, its carry is h[-1]. Folded.

override complex = false;
override reverse = false;

struct Recurrence {
  batch: u32,
  steps: u32,
  channels: u32,
  chunk: u32,
  chunks: u32,
}

@group(0) @binding(0) var<uniform> u: Recurrence;
@group(0) @binding(1) var<storage, read> a: array<f32>;  // in `carries` the products
@group(0) @binding(2) var<storage, read> b: array<f32>;  // in `carries` h[-1]
@group(0) @binding(3) var<storage, read> carry: array<f32>;  // of `replay`
@group(0) @binding(3) var<storage, read_write> carries_of: array<f32>;  // of the others: first the ends
@group(0) @binding(4) var<storage, read_write> out: array<f32>;  // h, of `ends` the products

fn times(p: vec2<f32>, q: vec2<f32>) -> vec2<f32> {
  if (complex) {
    return vec2<f32>(p.x * q.x - p.y * q.y, p.x * q.y + p.y * q.x);
  }
  return vec2<f32>(p.x * q.x, 0.0);
}

fn a_at(i: u32) -> vec2<f32> {
  if (complex) {
    return vec2<f32>(a[2u * i], a[2u * i + 1u]);
  }
  return vec2<f32>(a[i], 0.0);
}

fn b_at(i: u32) -> vec2<f32> {
  if (complex) {
    return vec2<f32>(b[2u * i], b[2u * i + 1u]);
  }
  return vec2<f32>(b[i], 0.0);
}

fn carry_at(i: u32) -> vec2<f32> {
  if (complex) {
    return vec2<f32>(carry[2u * i], carry[2u * i + 1u]);
  }
  return vec2<f32>(carry[i], 0.0);
}

fn end_at(i: u32) -> vec2<f32> {
  if (complex) {
    return vec2<f32>(carries_of[2u * i], carries_of[2u * i + 1u]);
  }
  return vec2<f32>(carries_of[i], 0.0);
}

fn set_out(i: u32, value: vec2<f32>) {
  if (complex) {
    out[2u * i] = value.x;
    out[2u * i + 1u] = value.y;
  } else {
    out[i] = value.x;
  }
}

fn set_carry(i: u32, value: vec2<f32>) {
  if (complex) {
    carries_of[2u * i] = value.x;
    carries_of[2u * i + 1u] = value.y;
  } else {
    carries_of[i] = value.x;
  }
}

// a sequence and channel, over some of its steps
struct Job {
  walk: u32,
  first: u32,
  stop: u32,
}

fn job_of(i: u32) -> Job {
  let part = i / u.channels;
  let first = part % u.chunks * u.chunk;
  return Job(part / u.chunks * u.channels + i % u.channels, first, min(first + u.chunk, u.steps));
}

// where a step finds b and leaves h
fn place(walk: u32, step: u32) -> u32 {
  let t = select(step, u.steps - 1u - step, reverse);
  return (walk / u.channels * u.steps + t) * u.channels + walk % u.channels;
}

// one step: h becomes by h + add
struct Step {
  by: vec2<f32>,
  add: vec2<f32>,
}

// a step of a job, one that changes nothing beyond its end; in the reverse a is the neighbour's, and none at the first
fn fetch(job: Job, step: u32) -> Step {
  let held = min(step, job.stop - 1u);
  var by = a_at(place(job.walk, select(held, max(held, 1u) - 1u, reverse)));
  if (reverse) {
    by = select(vec2<f32>(by.x, -by.y), vec2<f32>(), held == 0u);
  }
  let inside = step < job.stop;
  return Step(select(vec2<f32>(1.0, 0.0), by, inside), select(vec2<f32>(), b_at(place(job.walk, held)), inside));
}

fn after(step: Step, h: vec2<f32>) -> vec2<f32> {
  return times(step.by, h) + step.add;
}

@compute @workgroup_size(256)
fn ends(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let i = (group.x + groups.x * group.y) * 256u + lane;
  if (i >= u.batch * u.chunks * u.channels) {
    return;
  }
  let job = job_of(i);
  var all = vec2<f32>(1.0, 0.0);
  var state = vec2<f32>();
  for (var step = job.first; step < job.stop; step += 4u) {
    let s0 = fetch(job, step);  // four at once, so that their loads are under way together
    let s1 = fetch(job, step + 1u);
    let s2 = fetch(job, step + 2u);
    let s3 = fetch(job, step + 3u);
    all = times(s3.by, times(s2.by, times(s1.by, times(s0.by, all))));
    state = after(s3, after(s2, after(s1, after(s0, state))));
  }
  set_out(i, all);
  set_carry(i, state);
}

@compute @workgroup_size(256)
fn carries(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
           @builtin(local_invocation_index) lane: u32) {
  let walk = (group.x + groups.x * group.y) * 256u + lane;
  if (walk >= u.batch * u.channels) {
    return;
  }
  var state = vec2<f32>();
  if (!reverse) {
    state = b_at(walk);
  }
  for (var k = 0u; k < u.chunks; k++) {
    let i = (walk / u.channels * u.chunks + k) * u.channels + walk % u.channels;
    let next = times(a_at(i), state) + end_at(i);
    set_carry(i, state);
    state = next;
  }
}

@compute @workgroup_size(256)
fn replay(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
          @builtin(local_invocation_index) lane: u32) {
  let i = (group.x + groups.x * group.y) * 256u + lane;
  if (i >= u.batch * u.chunks * u.channels) {
    return;
  }
  let job = job_of(i);
  var state = vec2<f32>();
  if (!reverse || job.first > 0u) {
    state = carry_at(i);
  }
  for (var step = job.first; step < job.stop; step += 4u) {
    let s0 = fetch(job, step);
    let s1 = fetch(job, step + 1u);
    let s2 = fetch(job, step + 2u);
    let s3 = fetch(job, step + 3u);
    let h0 = after(s0, state);
    let h1 = after(s1, h0);
    let h2 = after(s2, h1);
    state = after(s3, h2);
    set_out(place(job.walk, step), h0);
    if (step + 1u < job.stop) { set_out(place(job.walk, step + 1u), h1); }
    if (step + 2u < job.stop) { set_out(place(job.walk, step + 2u), h2); }
    if (step + 3u < job.stop) { set_out(place(job.walk, step + 3u), state); }
  }
}
