// The Poincare disk as it looks from a point of it: what is painted there, and rings at geodesic distances, packed RGBA8.
//
// A pixel at w inside the unit disk shows the place z = (w + a) / (1 + conj(a) w), the translation that takes the middle
// to a; geodesics stay geodesics. The painting (side x side, over the square around the disk, row 0 on top, bilinear) goes
// through the table over [-1, 1] and covers the background by its size. Rings lie at multiples of `ring` from a, at
// |w| = tanh(d / 2), a pixel wide. What is outside the disk is clear. Rows are `stride` pixels long, a multiple of 4.
// Dispatch (ceil(stride / 256), pixels) workgroups.

struct View {
  side: u32,
  pixels: u32,
  stride: u32,
  background: u32,  // RGBA8
  ink: u32,
  x: f32,  // a
  y: f32,
  ring: f32,
}

@group(0) @binding(0) var<uniform> view: View;
@group(0) @binding(1) var<storage, read> painting: array<f32>;
@group(0) @binding(2) var<storage, read> colours: array<u32>;  // 256
@group(0) @binding(3) var<storage, read_write> pixels: array<vec4<u32>>;

const MOST = 0.69;  // letters stay legible
const GROWTH = 0.88;  // of the cover with the painted value
const FAINT = 0.3;  // of a ring
const RINGS = 5.0;  // farther ones would run together at the rim

fn at(x: i32, y: i32) -> f32 {
  let last = i32(view.side) - 1;
  return painting[clamp(y, 0, last) * i32(view.side) + clamp(x, 0, last)];
}

fn bilinear(place: vec2<f32>) -> f32 {
  let cell = floor(place);
  let rest = place - cell;
  let x = i32(cell.x);
  let y = i32(cell.y);
  return mix(mix(at(x, y), at(x + 1, y), rest.x), mix(at(x, y + 1), at(x + 1, y + 1), rest.x), rest.y);
}

fn look_up(value: f32) -> vec4<f32> {
  let place = clamp((value + 1.0) / 2.0, 0.0, 1.0) * 255.0;
  let index = min(u32(place), 254u);
  return mix(unpack4x8unorm(colours[index]), unpack4x8unorm(colours[index + 1u]), place - f32(index));
}

fn shown(column: u32, row: u32) -> u32 {
  let n = i32(view.pixels);
  let across = 2 * i32(column) + 1 - n;
  let up = n - 1 - 2 * i32(row);
  if (across * across + up * up >= n * n || column >= view.pixels) {
    return 0u;
  }
  let w = vec2<f32>(f32(across), f32(up)) / f32(n);
  let a = vec2<f32>(view.x, view.y);
  let top = w + a;
  let below = vec2<f32>(1.0 + dot(a, w), a.x * w.y - a.y * w.x);
  let z = vec2<f32>(dot(top, below), top.y * below.x - top.x * below.y) / dot(below, below);
  let value = bilinear(vec2<f32>(1.0 + z.x, 1.0 - z.y) * 0.5 * f32(view.side) - 0.5);
  let cover = min(abs(value) * GROWTH, MOST);
  var colour = mix(unpack4x8unorm(view.background).rgb, look_up(value).rgb, cover);
  let far = length(w);
  let nearest = clamp(round(2.0 * atanh(far) / view.ring), 1.0, RINGS);
  let away = abs(far - tanh(nearest * view.ring / 2.0)) * f32(n) / 2.0;
  colour = mix(colour, unpack4x8unorm(view.ink).rgb, FAINT * clamp(1.0 - away, 0.0, 1.0));
  return pack4x8unorm(vec4<f32>(colour, 1.0));
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (4u * id.x >= view.stride || id.y >= view.pixels) {
    return;
  }
  var packed = vec4<u32>();
  for (var k = 0u; k < 4u; k++) {
    packed[k] = shown(4u * id.x + k, id.y);
  }
  pixels[id.y * (view.stride / 4u) + id.x] = packed;
}
