// h[t] = a[t] h[t-1] + b[t] along T of a, b [N, T, C], real or complex (pairs), from h[-1]; or, `reverse`, its adjoint
// s[t] = conj(a[t+1]) s[t+1] + b[t] from 0.
//
// A workgroup owns `lanes` channels of one sequence and goes along the walk in tiles of 256 / lanes groups of 8 steps:
// each group of invocations takes its steps, shares what they do to a state (h -> p h + q), and replays them from the
// state that the groups before it leave. Everything is read once and written once; the next tile is fetched while a
// tile is worked on. Dispatch N * ceil(C / lanes) workgroups, folded.

override complex = false;
override reverse = false;
override lanes = 32u;

struct Recurrence {
  batch: u32,
  steps: u32,
  channels: u32,
}

@group(0) @binding(0) var<uniform> u: Recurrence;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read> initial: array<f32>;  // h[-1]
@group(0) @binding(4) var<storage, read_write> out: array<f32>;

const SIZE = 256u;
const STEPS = 8u;
var<workgroup> products: array<vec2<f32>, SIZE>;
var<workgroup> ends: array<vec2<f32>, SIZE>;

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

fn initial_at(i: u32) -> vec2<f32> {
  if (complex) {
    return vec2<f32>(initial[2u * i], initial[2u * i + 1u]);
  }
  return vec2<f32>(initial[i], 0.0);
}

fn set_out(i: u32, value: vec2<f32>) {
  if (complex) {
    out[2u * i] = value.x;
    out[2u * i + 1u] = value.y;
  } else {
    out[i] = value.x;
  }
}

// where the walk finds b and leaves h at a step
fn place(first: u32, step: u32) -> u32 {
  return first + select(step, u.steps - 1u - step, reverse) * u.channels;
}

// the factor of a step; in the reverse it is the neighbour's, and none at the first
fn factor(first: u32, step: u32) -> vec2<f32> {
  if (!reverse) {
    return a_at(place(first, step));
  }
  if (step == 0u) {
    return vec2<f32>();
  }
  let by = a_at(place(first, step - 1u));
  return vec2<f32>(by.x, -by.y);
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group_id: vec3<u32>, @builtin(num_workgroups) grid: vec3<u32>,
        @builtin(local_invocation_index) index: u32) {
  let across = (u.channels + lanes - 1u) / lanes;
  let job = group_id.x + grid.x * group_id.y;
  let lane = index % lanes;
  let group = index / lanes;
  let channel = job % across * lanes + lane;
  let here = job < u.batch * across && channel < u.channels;
  let first = job / across * u.steps * u.channels + channel;
  let tile = SIZE / lanes * STEPS;
  var state = vec2<f32>();
  if (here && !reverse) {
    state = initial_at(job / across * u.channels + channel);
  }
  var by_next: array<vec2<f32>, STEPS>;
  var add_next: array<vec2<f32>, STEPS>;
  for (var start = 0u; start < u.steps + tile; start += tile) {
    var by = by_next;
    var add = add_next;
    for (var i = 0u; i < STEPS; i++) {
      let step = start + group * STEPS + i;
      by_next[i] = vec2<f32>(1.0, 0.0);  // beyond the end nothing changes
      add_next[i] = vec2<f32>();
      if (here && step < u.steps) {
        by_next[i] = factor(first, step);
        add_next[i] = b_at(place(first, step));
      }
    }
    if (start == 0u) {
      continue;  // the first round only fetches
    }
    var p = by[0];
    var q = add[0];
    for (var i = 1u; i < STEPS; i++) {
      p = times(by[i], p);
      q = times(by[i], q) + add[i];
    }
    products[index] = p;
    ends[index] = q;
    workgroupBarrier();
    var mine = state;
    for (var other = lane; other < SIZE; other += lanes) {
      if (other == index) {
        mine = state;
      }
      state = times(products[other], state) + ends[other];
    }
    workgroupBarrier();
    for (var i = 0u; i < STEPS; i++) {
      let step = start - tile + group * STEPS + i;
      mine = times(by[i], mine) + add[i];
      if (here && step < u.steps) {
        set_out(place(first, step), mine);
      }
    }
  }
}
