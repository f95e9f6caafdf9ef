// Brush deposit of one pointer event on the painted layer, one read-modify-write a cell.
//
// The layer is width x height float32, row-major, row 0 the lowest band, packed four cells to a vec4. Of all stamps the
// heaviest counts at a cell, so that overlapping stamps of one event do not add up. A stamp weighs
// strength * (1 - d^2 / radius^2)^2 at distance d < radius from its centre; x is cyclic, y is not.
//   paint: layer = clamp(layer + amount * weight, -3, 3)
//   erase: layer = layer * (1 - amount * weight)
// Dispatch ceil(width * height / 256) workgroups.

struct Event {
  width: u32,
  height: u32,
  stamps: u32,
  erase: u32,
  amount: f32,
}

@group(0) @binding(0) var<uniform> event: Event;
@group(0) @binding(1) var<storage, read> stamps: array<vec4<f32>>;  // x, y, radius in cells; strength in 0..1
@group(0) @binding(2) var<storage, read_write> layer: array<vec4<f32>>;

const LIMIT = 3.0;  // log2 gain

fn heaviest(x: f32, y: f32) -> f32 {
  let around = f32(event.width);
  var weight = 0.0;
  for (var i = 0u; i < event.stamps; i++) {
    let stamp = stamps[i];
    var dx = x - stamp.x;
    dx -= around * round(dx / around);
    let dy = y - stamp.y;
    let fall = max(1.0 - (dx * dx + dy * dy) / (stamp.z * stamp.z), 0.0);
    weight = max(weight, stamp.w * fall * fall);
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
