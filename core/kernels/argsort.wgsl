// The places that sort each row of x [rows, n], stably: Batcher's bitonic network over pairs (key, place).
//
// A key is an unsigned integer in the order of the floats, NaN last; equal keys go by place, which makes it stable.
// Rows are padded to m places, a power of two, with keys behind all. `pairs` [rows, m] holds them between launches.
// `inside`: all steps of the network from blocks of `first` to blocks of `last` that stay within 1024 pairs, in
// workgroup memory; reads x where first = 2, writes places [rows, n] where last = m; ceil(rows * m / 1024) workgroups.
// `across`: one step of blocks of `first` between pairs `apart`; an invocation a pair of pairs, 256 a workgroup. Folded.

struct Sort {
  rows: u32,
  n: u32,
  m: u32,
  first: u32,
  last: u32,
  apart: u32,
  descending: u32,
}

@group(0) @binding(0) var<uniform> u: Sort;
@group(0) @binding(1) var<storage, read> x: array<u32>;  // the bits
@group(0) @binding(2) var<storage, read_write> pairs: array<vec2<u32>>;
@group(0) @binding(3) var<storage, read_write> places: array<i32>;

const LANES = 256u;
const BLOCK = 1024u;
const BEHIND = 0xffffffffu;
var<workgroup> held: array<vec2<u32>, BLOCK>;

fn key(bits: u32) -> u32 {
  if ((bits & 0x7fffffffu) > 0x7f800000u) {
    return BEHIND;
  }
  let zero = select(bits, 0u, bits == 0x80000000u);  // -0 equals 0
  let ascending = select(zero | 0x80000000u, ~zero, zero >= 0x80000000u);
  return select(ascending, ~ascending, u.descending != 0u);
}

fn pair(i: u32) -> vec2<u32> {
  let row = i / u.m;
  let place = i % u.m;
  if (u.first > 2u) {
    return pairs[i];
  }
  if (row >= u.rows || place >= u.n) {
    return vec2<u32>(BEHIND, place);
  }
  return vec2<u32>(key(x[row * u.n + place]), place);
}

// whether two pairs, the earlier one at i, stand in the wrong order for a block that ascends in its even halves
fn wrong(a: vec2<u32>, b: vec2<u32>, i: u32, block: u32) -> bool {
  let after = a.x > b.x || (a.x == b.x && a.y > b.y);
  return after == (((i % u.m) & block) == 0u);
}

@compute @workgroup_size(256)
fn inside(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
          @builtin(local_invocation_index) lane: u32) {
  let start = (group.x + groups.x * group.y) * BLOCK;
  for (var i = lane; i < BLOCK; i += LANES) {
    held[i] = pair(start + i);
  }
  workgroupBarrier();
  for (var block = u.first; block <= u.last; block *= 2u) {
    for (var apart = min(block, BLOCK) / 2u; apart > 0u; apart /= 2u) {
      for (var k = lane; k < BLOCK / 2u; k += LANES) {
        let i = k / apart * 2u * apart + k % apart;
        let a = held[i];
        let b = held[i + apart];
        if (wrong(a, b, start + i, block)) {
          held[i] = b;
          held[i + apart] = a;
        }
      }
      workgroupBarrier();
    }
  }
  for (var i = lane; i < BLOCK; i += LANES) {
    let row = (start + i) / u.m;
    let rank = (start + i) % u.m;
    if (row < u.rows && u.last < u.m) {
      pairs[start + i] = held[i];
    } else if (row < u.rows && rank < u.n) {
      places[row * u.n + rank] = i32(held[i].y);
    }
  }
}

@compute @workgroup_size(256)
fn across(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
          @builtin(local_invocation_index) lane: u32) {
  let k = (group.x + groups.x * group.y) * LANES + lane;
  let i = k / u.apart * 2u * u.apart + k % u.apart;
  if (i >= u.rows * u.m) {
    return;
  }
  let a = pairs[i];
  let b = pairs[i + u.apart];
  if (wrong(a, b, i, u.first)) {
    pairs[i] = b;
    pairs[i + u.apart] = a;
  }
}
