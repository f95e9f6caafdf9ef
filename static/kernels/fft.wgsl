// One pass of a Fourier transform along the middle axis of an array seen as [outer, n, inner]: Stockham's self-sorting
// step of radix R, with s the product of the radices before:
// out[j / s * s R + j % s + q s] = sum over p < R of in[j + p n / R] exp(-2 pi i p (j % s + q s) / (s R)), j < n / R.
//
// The first pass reads `source`: pairs [outer, n, inner, 2]; real values [outer, given, inner], zeros from `given` on;
// or the lower half of a spectrum [outer, n / 2 + 1, inner, 2], to be transformed back. The last pass writes `target`:
// pairs; the lower half of a spectrum; or real values, divided by n. `roots` are exp(-2 pi i k / n), from the host:
// WGSL's sine is coarse.
// A column is one j of one place in outer and inner.
// `inside`: R <= 1024; a workgroup takes `COLUMNS` columns of R into its memory, and does for them the steps of `radices`,
// whose product is R; ceil(outer * n / R * inner / columns) workgroups.
// `direct`: the sum itself, for a large prime R; an invocation a value, ceil(outer * n * inner / 256). Folded.

override source = 0u;
override target_kind = 0u;
// sizes are compiled in: a division by a constant costs little
override N = 1u;
override INNER = 1u;
override RADIX = 1u;
override SPAN = 1u;  // s
override COLUMNS = 1u;

struct Pass {
  outer: u32,
  given: u32,
  steps: u32,
  padding: u32,
  radices: array<vec4<u32>, 2>,
}

@group(0) @binding(0) var<uniform> u: Pass;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> roots: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;

const REAL = 1u;
const HALF = 2u;
const LANES = 256u;
const CELLS = 1024u;
var<workgroup> cells: array<vec2<f32>, 2u * CELLS>;  // a step reads one half and writes the other

fn times(a: vec2<f32>, b: vec2<f32>) -> vec2<f32> {
  return vec2<f32>(a.x * b.x - a.y * b.y, a.x * b.y + a.y * b.x);
}

// place: along n; the transform back is that of the conjugate, as its result is real
fn load(outer: u32, place: u32, inner: u32) -> vec2<f32> {
  if (source == REAL) {
    if (place >= u.given) {
      return vec2<f32>();
    }
    return vec2<f32>(x[(outer * u.given + place) * INNER + inner], 0.0);
  }
  var from_end = false;
  var at = outer * N + place;
  if (source == HALF) {
    from_end = place > N / 2u;
    at = outer * (N / 2u + 1u) + select(place, N - place, from_end);
  }
  let i = 2u * (at * INNER + inner);
  return vec2<f32>(x[i], select(x[i + 1u], -x[i + 1u], source == HALF && !from_end));
}

fn store(outer: u32, place: u32, inner: u32, value: vec2<f32>) {
  if (target_kind == REAL) {
    out[(outer * N + place) * INNER + inner] = value.x / f32(N);
    return;
  }
  var length = N;
  if (target_kind == HALF) {
    length = N / 2u + 1u;
  }
  if (place < length) {
    let i = 2u * ((outer * length + place) * INNER + inner);
    out[i] = value.x;
    out[i + 1u] = value.y;
  }
}

// out element o of a step of a radix, within the column at `first` of n values that stand `columns` apart
fn sum_of(first: u32, o: u32, n: u32, radix: u32, span: u32) -> vec2<f32> {
  let turn = o % (span * radix);
  let j = o / (span * radix) * span + turn % span;
  var sum = vec2<f32>();
  for (var p = 0u; p < radix; p++) {
    let root = roots[p * turn % (span * radix) * (N / (span * radix))];
    sum += times(cells[first + (j + p * (n / radix)) * COLUMNS], root);
  }
  return sum;
}

// the four out elements of a step of radix 4 that come of the same four values
fn butterfly(first: u32, to: u32, j: u32, n: u32, span: u32) {
  let turn = j % span;
  let unit = turn * (N / (4u * span));
  let quarter = n / 4u * COLUMNS;
  let at = first + j * COLUMNS;
  let a = cells[at];
  let b = times(cells[at + quarter], roots[unit]);
  let c = times(cells[at + 2u * quarter], roots[2u * unit]);
  let d = times(cells[at + 3u * quarter], roots[3u * unit]);
  let even = a + c;
  let odd = a - c;
  let sum = b + d;
  let turned = vec2<f32>(b.y - d.y, d.x - b.x);  // -i (b - d)
  let o = to + (j / span * span * 4u + turn) * COLUMNS;
  let step = span * COLUMNS;
  cells[o] = even + sum;
  cells[o + step] = odd + turned;
  cells[o + 2u * step] = even - sum;
  cells[o + 3u * step] = odd - turned;
}

@compute @workgroup_size(256)
fn inside(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
          @builtin(local_invocation_index) lane: u32) {
  let across = N / RADIX * INNER;  // columns of one place in outer
  let first = (group.x + groups.x * group.y) * COLUMNS;
  let held = RADIX * COLUMNS;
  for (var i = lane; i < held; i += LANES) {
    // neighbouring lanes read neighbouring values: columns, or along the only one there is
    let p = select(i / COLUMNS, i % RADIX, across == 1u);
    let column = select(i % COLUMNS, i / RADIX, across == 1u);
    let place = (first + column) % across;
    if ((first + column) / across < u.outer) {
      let j = place / INNER;
      var value = load((first + column) / across, j + p * (N / RADIX), place % INNER);
      value = times(value, roots[p * (j % SPAN) * (N / (SPAN * RADIX))]);
      cells[p * COLUMNS + column] = value;
    }
  }
  workgroupBarrier();
  var from_half = 0u;
  var span = 1u;
  for (var s = 0u; s < u.steps; s++) {
    let radix = u.radices[s / 4u][s % 4u];
    let to_half = CELLS - from_half;
    if (radix == 4u) {
      for (var i = lane; i < held / 4u; i += LANES) {
        let column = i % COLUMNS;
        butterfly(from_half + column, to_half + column, i / COLUMNS, RADIX, span);
      }
    } else {
      for (var i = lane; i < held; i += LANES) {
        cells[to_half + i] = sum_of(from_half + i % COLUMNS, i / COLUMNS, RADIX, radix, span);
      }
    }
    workgroupBarrier();
    span *= radix;
    from_half = to_half;
  }
  let along = SPAN * INNER < COLUMNS;  // values of a column are nearer to each other than columns are
  for (var i = lane; i < held; i += LANES) {
    let q = select(i / COLUMNS, i % RADIX, along);
    let column = select(i % COLUMNS, i / RADIX, along);
    let place = (first + column) % across;
    if ((first + column) / across < u.outer) {
      let j = place / INNER;
      let o = j / SPAN * SPAN * RADIX + j % SPAN + q * SPAN;
      store((first + column) / across, o, place % INNER, cells[from_half + q * COLUMNS + column]);
    }
  }
}

@compute @workgroup_size(256)
fn direct(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>,
          @builtin(local_invocation_index) lane: u32) {
  let i = (group.x + groups.x * group.y) * LANES + lane;
  let o = i / INNER % N;
  let outer = i / INNER / N;
  if (outer >= u.outer) {
    return;
  }
  let turn = o % (SPAN * RADIX);
  let j = o / (SPAN * RADIX) * SPAN + turn % SPAN;
  var power = 0u;
  var sum = vec2<f32>();
  for (var block = 0u; block < RADIX; block += LANES) {  // sums of sums: rounding grows with the root of the terms
    var part = vec2<f32>();
    for (var p = block; p < min(block + LANES, RADIX); p++) {
      let value = load(outer, j + p * (N / RADIX), i % INNER);
      part += times(value, roots[power * (N / (SPAN * RADIX))]);
      power = select(power + turn, power + turn - SPAN * RADIX, power + turn >= SPAN * RADIX);
    }
    sum += part;
  }
  store(outer, o, i % INNER, sum);
}
