// sum over s of values[s] hat_s(angle of re + i im): cos^2 hats over neighbouring ones of S sectors of a turn, S >= 2.
//
// An angle lies between two sectors and only their hats are not zero there: those two sum to one.
// An invocation a value; dispatch ceil(count / 256) workgroups, folded.

struct Sheets {
  count: u32,
  sheets: u32,
}

@group(0) @binding(0) var<uniform> u: Sheets;
@group(0) @binding(1) var<storage, read> re: array<f32>;
@group(0) @binding(2) var<storage, read> im: array<f32>;
@group(0) @binding(3) var<storage, read> values: array<f32>;
@group(0) @binding(4) var<storage, read_write> out: array<f32>;

const PI = 3.14159265;

// of t in [0, 1]; the polynomial is that of Moshier's Cephes, good to 1e-7 up to tan(pi / 8)
fn arctangent(t: f32) -> f32 {
  let steep = t > 0.41421356;
  let x = select(t, (t - 1.0) / (t + 1.0), steep);
  let z = x * x;
  let p = ((0.0805374449538 * z - 0.138776856032) * z + 0.199777106478) * z - 0.333329491539;
  return p * z * x + x + select(0.0, PI / 4.0, steep);
}

// in turns, [0, 1]; of 0 it is 0
fn angle(x: f32, y: f32) -> f32 {
  let larger = max(abs(x), abs(y));
  if (larger == 0.0) {
    return 0.0;
  }
  var a = arctangent(min(abs(x), abs(y)) / larger) / (2.0 * PI);
  a = select(a, 0.25 - a, abs(y) > abs(x));
  a = select(a, 0.5 - a, x < 0.0);
  return select(a, 1.0 - a, y < 0.0);
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let i = (group.x + groups.x * group.y) * 256u + lane;
  if (i >= u.count) {
    return;
  }
  let at = angle(re[i], im[i]) * f32(u.sheets);
  let lower = u32(at);
  let on = at - f32(lower);
  let x = PI / 2.0 * min(on, 1.0 - on);  // sine squared, at most pi / 4 from where it is zero
  let z = x * x;
  let s = x * (1.0 + z * (-1.0 / 6.0 + z * (1.0 / 120.0 - z / 5040.0)));
  let upper = select(1.0 - s * s, s * s, on < 0.5);
  out[i] = (1.0 - upper) * values[lower % u.sheets] + upper * values[(lower + 1u) % u.sheets];
}
