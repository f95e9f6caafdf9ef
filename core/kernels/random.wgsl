// Philox4x32-10 (Salmon, Moraes, Dror & Shaw 2011): key = seed, counter = (offset, step, stream).
//
// `draw_bits`: the 32-bit words. `draw_uniform`: their upper 24 bits as multiples of 2^-24. An invocation four values, one counter.
// `draw_normal`: Box & Muller's pairs, the radius from word i, the angle from word half + i, half = ceil(count / 2): cosines,
// then sines. An invocation a pair. Dispatch ceil(invocations / 256) workgroups, folded.
// Logarithm, sine and cosine are our own: those of WGSL are coarse, and near 1 a float has lost what counts.

struct Draw {
  count: u32,
  stream: u32,
  step: vec2<u32>,  // low, high
  key: vec2<u32>,
  first: u32,  // counter
}

@group(0) @binding(0) var<uniform> u: Draw;
@group(0) @binding(1) var<storage, read_write> words: array<u32>;
@group(0) @binding(1) var<storage, read_write> values: array<f32>;

// low and high half of a 64-bit product
fn wide(a: u32, b: u32) -> vec2<u32> {
  let low = (a & 0xffffu) * (b & 0xffffu);
  let one = (a >> 16u) * (b & 0xffffu) + (low >> 16u);
  let two = (a & 0xffffu) * (b >> 16u) + (one & 0xffffu);
  return vec2<u32>(a * b, (a >> 16u) * (b >> 16u) + (one >> 16u) + (two >> 16u));
}

fn philox(offset: u32) -> vec4<u32> {
  var c = vec4<u32>(u.first + offset, u.step, u.stream);
  var k = u.key;
  for (var round = 0u; round < 10u; round++) {
    let p = wide(0xd2511f53u, c.x);
    let q = wide(0xcd9e8d57u, c.z);
    c = vec4<u32>(q.y ^ c.y ^ k.x, q.x, p.y ^ c.w ^ k.y, p.x);
    k += vec2<u32>(0x9e3779b9u, 0xbb67ae85u);
  }
  return c;
}

// -log((word + 1/2) 2^-32) = power log 2 - log(1 - d), d in [0, 1/2] counted from the nearer end
fn minus_log(word: u32) -> f32 {
  var power = 0.0;
  var d = (f32(~word) + 0.5) * 0x1p-32f;
  if (word < 0x80000000u) {
    let parts = bitcast<u32>(f32(word) + 0.5);
    power = f32(158u - (parts >> 23u));
    d = 1.0 - bitcast<f32>((parts & 0x7fffffu) | 0x3f000000u);
  }
  let s = d / (2.0 - d);  // -log(1 - d) = 2 artanh(s)
  let z = s * s;
  let series = 1.0 + z * (1.0 / 3.0 + z * (0.2 + z * (1.0 / 7.0 + z * (1.0 / 9.0 + z * (1.0 / 11.0 + z / 13.0)))));
  return power * 0.69314718 + 2.0 * s * series;
}

// cosine and sine of 2 pi (word + 1/2) 2^-32: the nearest quarter of a turn, and Taylor's series of the rest
fn turn(word: u32) -> vec2<f32> {
  let quarter = (word + 0x20000000u) >> 30u;
  let x = (f32(bitcast<i32>(word - (quarter << 30u))) + 0.5) * (6.2831853 * 0x1p-32f);
  let z = x * x;
  let s = x * (1.0 + z * (-1.0 / 6.0 + z * (1.0 / 120.0 + z * (-1.0 / 5040.0 + z / 362880.0))));
  let c = 1.0 + z * (-0.5 + z * (1.0 / 24.0 + z * (-1.0 / 720.0 + z / 40320.0)));
  let swapped = select(vec2<f32>(c, s), vec2<f32>(-s, c), (quarter & 1u) == 1u);
  return select(swapped, -swapped, (quarter & 2u) == 2u);
}

@compute @workgroup_size(256)
fn draw_bits(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
        @builtin(local_invocation_index) lane: u32) {
  let i = (group.x + groups.x * group.y) * 256u + lane;
  let drawn = philox(i);
  for (var k = 0u; k < 4u && 4u * i + k < u.count; k++) {
    words[4u * i + k] = drawn[k];
  }
}

@compute @workgroup_size(256)
fn draw_uniform(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
           @builtin(local_invocation_index) lane: u32) {
  let i = (group.x + groups.x * group.y) * 256u + lane;
  let drawn = philox(i);
  for (var k = 0u; k < 4u && 4u * i + k < u.count; k++) {
    values[4u * i + k] = f32(drawn[k] >> 8u) * 0x1p-24f;
  }
}

@compute @workgroup_size(256)
fn draw_normal(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
          @builtin(local_invocation_index) lane: u32) {
  let i = (group.x + groups.x * group.y) * 256u + lane;
  let half = u.count / 2u + u.count % 2u;
  if (i >= half) {
    return;
  }
  let radius = sqrt(2.0 * minus_log(philox(i / 4u)[i % 4u]));
  let pair = radius * turn(philox((half + i) / 4u)[(half + i) % 4u]);
  values[i] = pair.x;
  if (half + i < u.count) {
    values[half + i] = pair.y;
  }
}
