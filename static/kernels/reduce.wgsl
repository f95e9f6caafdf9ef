// Area mean of the painted layer over each cell of the frame's grid (bands x sheets), fractional overlaps included.
//
// Counted in units of 1 / sheets and 1 / bands, every overlap is a whole number: those of one cell sum to
// width * height. A workgroup makes four neighbouring cells: 64 partial sums, then a tree.
// Dispatch ceil(bands * sheets / 4) workgroups.

struct Grid {
  width: u32,
  height: u32,
  bands: u32,
  sheets: u32,
}

@group(0) @binding(0) var<uniform> grid: Grid;
@group(0) @binding(1) var<storage, read> layer: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> means: array<vec4<f32>>;

const LANES = 64u;
var<workgroup> partial: array<vec4<f32>, LANES>;

// the lane's share of a cell's weighted sum
fn weighted_sum(band: u32, sheet: u32, lane: u32) -> f32 {
  let from_x = sheet * grid.width;
  let to_x = from_x + grid.width;
  let from_y = band * grid.height;
  let to_y = from_y + grid.height;
  let first = from_x / grid.sheets;
  let columns = (to_x + grid.sheets - 1u) / grid.sheets - first;
  let lowest = from_y / grid.bands;
  let rows = (to_y + grid.bands - 1u) / grid.bands - lowest;
  var sum = 0.0;
  for (var i = lane; i < columns * rows; i += LANES) {
    let x = first + i % columns;
    let y = lowest + i / columns;
    let across = min((x + 1u) * grid.sheets, to_x) - max(x * grid.sheets, from_x);
    let along = min((y + 1u) * grid.bands, to_y) - max(y * grid.bands, from_y);
    let cell = y * grid.width + x;
    sum += layer[cell / 4u][cell % 4u] * f32(across * along);
  }
  return sum;
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  var sums = vec4<f32>();
  for (var k = 0u; k < 4u; k++) {
    let cell = 4u * group.x + k;
    if (cell < grid.bands * grid.sheets) {
      sums[k] = weighted_sum(cell / grid.sheets, cell % grid.sheets, lane);
    }
  }
  partial[lane] = sums;
  workgroupBarrier();
  for (var half = LANES / 2u; half > 0u; half /= 2u) {
    if (lane < half) {
      partial[lane] += partial[lane + half];
    }
    workgroupBarrier();
  }
  if (lane == 0u) {
    means[group.x] = partial[0] / f32(grid.width * grid.height);
  }
}
