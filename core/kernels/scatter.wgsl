// Adds values up by an index, always in the order of the index: no float atomics, so a sum repeats bit for bit.
//
// `rows`: out[r, c] = sum over i with index[i] = r of g[i, c]. A workgroup makes 256 columns of one row: it marks the
// places of its row among 1024 indices in bits, then adds those up. Long indices come in parts, a result each: dispatch
// (ceil(width / 256), parts * rows folded in y, z).
// `along`: out[r, d] = sum over j with index[r, j] = d of g[r, j]. Dispatch ceil(results / 256) workgroups, folded.

struct Scatter {
  count: u32,  // indices: of all (rows), of a row (along)
  width: u32,  // columns (rows), places d (along)
  results: u32,  // of a part
  part: u32,  // indices of a part
  parts: u32,
}

@group(0) @binding(0) var<uniform> u: Scatter;
@group(0) @binding(1) var<storage, read> g: array<f32>;
@group(0) @binding(2) var<storage, read> index: array<i32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;

const LANES = 256u;
const WORDS = 32u;  // of 32 marks each
var<workgroup> marks: array<atomic<u32>, WORDS>;

@compute @workgroup_size(256)
fn rows(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let job = group.y + groups.y * group.z;
  let row = job % (u.results / u.width);
  let start = job / (u.results / u.width) * u.part;
  let stop = min(start + u.part, u.count);
  let column = group.x * LANES + lane;
  var sum = 0.0;
  for (var first = start; first < stop; first += 32u * WORDS) {
    if (lane < WORDS) {
      atomicStore(&marks[lane], 0u);
    }
    workgroupBarrier();
    for (var i = lane; i < 32u * WORDS; i += LANES) {
      if (first + i < stop && index[first + i] == i32(row)) {
        atomicOr(&marks[i / 32u], 1u << (i % 32u));
      }
    }
    workgroupBarrier();
    if (column < u.width) {
      for (var w = 0u; w < WORDS; w++) {
        for (var bits = atomicLoad(&marks[w]); bits != 0u; bits &= bits - 1u) {
          sum += g[(first + 32u * w + countTrailingZeros(bits)) * u.width + column];
        }
      }
    }
    workgroupBarrier();
  }
  if (column < u.width && job * u.width < u.parts * u.results) {
    out[job * u.width + column] = sum;
  }
}

@compute @workgroup_size(256)
fn along(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
         @builtin(local_invocation_index) lane: u32) {
  let i = (group.x + groups.x * group.y) * LANES + lane;
  if (i >= u.results) {
    return;
  }
  let start = (i / u.width) * u.count;
  var sum = 0.0;
  for (var j = start; j < start + u.count; j++) {
    if (index[j] == i32(i % u.width)) {
      sum += g[j];
    }
  }
  out[i] = sum;
}
