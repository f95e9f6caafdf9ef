// Brush deposit of one pointer event on the painted layer, one read-modify-write a cell.
//
// The layer is width x height float32, row-major, row 0 the lowest band, packed four cells to a vec4. Of all marks the
// heaviest counts at a cell, so that overlapping marks of one event do not add up. A mark is a dab, which weighs
// weight * min((1 - d^2 / radius^2) / (1 - hardness^2), 1)^2 at distance d < radius from its centre, x cyclic, y not; or
// a span, which covers the cells start <= x < end of a row.
//   paint: layer = clamp(layer + amount * weight, -3, 3)
//   erase: layer = layer * (1 - amount * weight)
// Dispatch ceil(width * height / 256) workgroups.

struct Event {
  width: u32,
  height: u32,
  marks: u32,
  erase: u32,
  spans: u32,
  amount: f32,
  hardness: f32,
}

@group(0) @binding(0) var<uniform> event: Event;
// Of a dab x, y, radius in cells and weight in 0..1; of a span row, start, end and 1.
@group(0) @binding(1) var<storage, read> marks: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> layer: array<vec4<f32>>;

const LIMIT = 3.0;  // log2 gain

fn heaviest(x: f32, y: f32) -> f32 {
  let around = f32(event.width);
  let soft = 1.0 - event.hardness * event.hardness;
  var weight = 0.0;
  for (var i = 0u; i < event.marks; i++) {
    let mark = marks[i];
    if (event.spans != 0u) {
      if (floor(y) == mark.x && x > mark.y && x < mark.z) {
        weight = max(weight, mark.w);
      }
      continue;
    }
    var dx = x - mark.x;
    dx -= around * round(dx / around);
    let dy = y - mark.y;
    let fall = clamp((1.0 - (dx * dx + dy * dy) / (mark.z * mark.z)) / soft, 0.0, 1.0);
    weight = max(weight, mark.w * fall * fall);
  }
  return weight;
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (4u * id.x >= event.width * event.height) {
    return;
  }
  var values = layer[id.x];
  for (var k = 0u; k < 4u; k++) {
    let cell = 4u * id.x + k;
    let weight = heaviest(f32(cell % event.width) + 0.5, f32(cell / event.width) + 0.5);
    if (event.erase != 0u) {
      values[k] *= 1.0 - event.amount * weight;
    } else {
      values[k] = clamp(values[k] + event.amount * weight, -LIMIT, LIMIT);
    }
  }
  layer[id.x] = values;
}
