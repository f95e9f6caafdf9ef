// Sums or largest values over some axes of a strided array, in an order that its shape alone fixes.
//
// Results are numbered over the kept axes, what goes into one over the reduced ones, each up to four (the last one at
// index 3). The reduced values are cut into chunks, one partial result each; more than one chunk takes a second launch.
// `lanes` invocations (a power of two) make a partial result: in steps, then a tree. They are neighbours where the values
// of a result lie side by side (`by_rows`), else the results are. Dispatch ceil(chunks * results * lanes / 256), folded.

override largest = false;
override by_rows = false;
override even = false;  // one stride leads from each reduced value to the next

struct Reduction {
  results: u32,
  length: u32,  // values that go into one result
  chunk: u32,
  chunks: u32,
  offset: u32,
  kept_rank: u32,
  reduced_rank: u32,
  lanes: u32,
  kept_sizes: vec4<u32>,
  kept_strides: vec4<u32>,
  reduced_sizes: vec4<u32>,
  reduced_strides: vec4<u32>,
}

@group(0) @binding(0) var<uniform> u: Reduction;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;

const LANES = 256u;
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
  if (even) {
    return x[start + j * u.reduced_strides.w];
  }
  return x[start + place(j, u.reduced_rank, u.reduced_sizes, u.reduced_strides)];
}

fn join(a: f32, b: f32) -> f32 {
  if (largest) {
    return max(a, b);
  }
  return a + b;
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) index: u32) {
  let across = LANES / u.lanes;  // partial results of a workgroup
  let lane = select(index / across, index % u.lanes, by_rows);
  let job = (group.x + groups.x * group.y) * across + select(index % across, index / u.lanes, by_rows);
  let result = select(job % u.results, job / u.chunks, by_rows);
  let first = select(job / u.results, job % u.chunks, by_rows) * u.chunk;
  var folded = select(0.0, -0x1.fffffep+127f, largest);
  if (job < u.results * u.chunks) {
    let start = u.offset + place(result, u.kept_rank, u.kept_sizes, u.kept_strides);
    let end = min(first + u.chunk, u.length);
    var j = first + lane;
    for (; j + 3u * u.lanes < end; j += 4u * u.lanes) {  // four at once, so that their loads are under way together
      let some = vec4<f32>(value(start, j), value(start, j + u.lanes), value(start, j + 2u * u.lanes),
                           value(start, j + 3u * u.lanes));
      folded = join(folded, join(join(some.x, some.y), join(some.z, some.w)));
    }
    for (; j < end; j += u.lanes) {
      folded = join(folded, value(start, j));
    }
  }
  partial[index] = folded;
  workgroupBarrier();
  for (var half = u.lanes / 2u; half > 0u; half /= 2u) {
    if (lane < half) {
      partial[index] = join(partial[index], partial[index + half * select(across, 1u, by_rows)]);
    }
    workgroupBarrier();
  }
  if (lane == 0u && job < u.results * u.chunks) {
    out[job] = partial[index];
  }
}
