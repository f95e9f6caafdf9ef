// One step of the damped wave equation, for display only: the shown surface u rings around the painted layer and comes
// to rest on it exactly, because the Laplacian acts on their difference w = u - layer.
//
//   velocity' = (velocity + dt * (speed^2 * laplacian(w) - stiffness * w)) / (1 + damping * dt)
//   u'        = u + dt * velocity'
//
// 5-point Laplacian in units of cells, periodic in x, reflecting in y. Stable for dt^2 * (8 * speed^2 + stiffness) <= 4
// (8 is the largest eigenvalue of the 5-point Laplacian; damping only widens the bound); the host asserts it.
// Dispatch ceil(width * height / 256) workgroups.

struct Wave {
  width: u32,
  height: u32,
  dt: f32,         // seconds
  speed: f32,      // cells a second
  stiffness: f32,  // 1 / second^2
  damping: f32,    // 1 / second
}

@group(0) @binding(0) var<uniform> wave: Wave;
@group(0) @binding(1) var<storage, read> layer: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> before: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> velocity: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> after: array<vec4<f32>>;

fn away(x: u32, y: u32) -> f32 {
  let cell = y * wave.width + x;
  return before[cell / 4u][cell % 4u] - layer[cell / 4u][cell % 4u];
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (4u * id.x >= wave.width * wave.height) {
    return;
  }
  var speeds = velocity[id.x];
  for (var k = 0u; k < 4u; k++) {
    let x = (4u * id.x + k) % wave.width;
    let y = min((4u * id.x + k) / wave.width, wave.height - 1u);  // cells beyond the last are padding
    let left = away((x + wave.width - 1u) % wave.width, y);
    let right = away((x + 1u) % wave.width, y);
    let below = away(x, max(y, 1u) - 1u);
    let above = away(x, min(y + 1u, wave.height - 1u));
    let here = away(x, y);
    let pull = wave.speed * wave.speed * (left + right + below + above - 4.0 * here) - wave.stiffness * here;
    speeds[k] = (speeds[k] + wave.dt * pull) / (1.0 + wave.damping * wave.dt);
  }
  velocity[id.x] = speeds;
  after[id.x] = before[id.x] + wave.dt * speeds;
}
