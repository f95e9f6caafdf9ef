// Sums or largest values over some axes of a strided array, in an order that its shape alone fixes.
//
// Results are numbered over the kept axes, what goes into one over the reduced ones, each up to four (the last one at
// index 3). The reduced values are cut into chunks, one partial result each; more than one chunk takes a second launch.
// `rows`: a workgroup a partial result, its lanes in steps, then a tree; dispatch chunks * results, folded.
// `columns`: an invocation a partial result, one value after the other; dispatch ceil(chunks * results / 256), folded.

override largest = false;

struct Reduction {
  results: u32,
  length: u32,  // values that go into one result
  chunk: u32,
  chunks: u32,
  offset: u32,
  kept_rank: u32,
  reduced_rank: u32,
  padding: u32,
  kept_sizes: vec4<u32>,
  kept_strides: vec4<u32>,
  reduced_sizes: vec4<u32>,
  reduced_strides: vec4<u32>,
}

@group(0) @binding(0) var<uniform> u: Reduction;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;

const LANES = 64u;
var<workgroup> partial: array<f32, LANES>;

fn place(index: u32, rank: u32, sizes: vec4<u32>, strides: vec4<u32>) -> u32 {
  var rest = index;
  var at = 0u;
  for (var axis = 3u; axis > 4u - rank; axis--) {
    at += (rest % sizes[axis]) * strides[axis];
    rest /= sizes[axis];
  }
  return at + rest * strides[4u - max(rank, 1u)];  // no remainder along the outermost
}

fn value(start: u32, j: u32) -> f32 {
  return x[start + place(j, u.reduced_rank, u.reduced_sizes, u.reduced_strides)];
}

fn join(a: f32, b: f32) -> f32 {
  if (largest) {
    return max(a, b);
  }
  return a + b;
}

fn neutral() -> f32 {
  return select(0.0, -0x1.fffffep+127f, largest);
}

@compute @workgroup_size(64)
fn rows(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let job = group.x + groups.x * group.y;  // chunk after chunk of a result
  var folded = neutral();
  if (job < u.results * u.chunks) {
    let start = u.offset + place(job / u.chunks, u.kept_rank, u.kept_sizes, u.kept_strides);
    let first = (job % u.chunks) * u.chunk;
    for (var j = first + lane; j < min(first + u.chunk, u.length); j += LANES) {
      folded = join(folded, value(start, j));
    }
  }
  partial[lane] = folded;
  workgroupBarrier();
  for (var half = LANES / 2u; half > 0u; half /= 2u) {
    if (lane < half) {
      partial[lane] = join(partial[lane], partial[lane + half]);
    }
    workgroupBarrier();
  }
  if (lane == 0u && job < u.results * u.chunks) {
    out[job] = partial[0];
  }
}

@compute @workgroup_size(256)
fn columns(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
           @builtin(local_invocation_index) lane: u32) {
  let job = (group.x + groups.x * group.y) * 256u + lane;  // result after result of a chunk
  if (job >= u.results * u.chunks) {
    return;
  }
  let start = u.offset + place(job % u.results, u.kept_rank, u.kept_sizes, u.kept_strides);
  let first = (job / u.results) * u.chunk;
  var folded = neutral();
  for (var j = first; j < min(first + u.chunk, u.length); j++) {
    folded = join(folded, value(start, j));
  }
  out[job] = folded;
}
