// h[t] = a[t] h[t-1] + b[t] over [N, steps, C]; V is a real type, or a pair for complex numbers; REVERSE runs from the
// end with conj(a[t+1]), the adjoint.
//
// A block owns LANES channels of one sequence and walks along time in tiles of GROUPS x STEPS: each group of threads
// takes STEPS steps, shares what they do to a state (h -> p h + q), and replays them from the state that the groups
// before it leave. Everything is read once and written once; the next tile is loaded while a tile is worked on.
// LANES and GROUPS change no bit: a state meets the same products in the same order, and what is fused is spelled out.

#if COMPLEX
struct V { T re, im; };
__device__ V step(V a, V h, V b) {
  return {fma(a.re, h.re, fma(-a.im, h.im, b.re)), fma(a.re, h.im, fma(a.im, h.re, b.im))};
}
__device__ V times(V a, V b) { return step(a, b, {0, 0}); }
__device__ V adjoint(V a) { return {a.re, -a.im}; }
__device__ V zero() { return {0, 0}; }
__device__ V one() { return {1, 0}; }
#else
typedef T V;
__device__ V step(V a, V h, V b) { return fma(a, h, b); }
__device__ V times(V a, V b) { return a * b; }
__device__ V adjoint(V a) { return a; }
__device__ V zero() { return 0; }
__device__ V one() { return 1; }
#endif

#define STEPS 8
#define TILE (GROUPS * STEPS)

extern "C" __global__ void recurrence(const V* __restrict__ a, const V* __restrict__ b, const V* __restrict__ h0,
                                      V* __restrict__ out, int steps, int C) {
  __shared__ V share_p[GROUPS][LANES], share_q[GROUPS][LANES];
  int across = (C + LANES - 1) / LANES, n = blockIdx.x / across, group = threadIdx.y;
  int c = blockIdx.x % across * LANES + threadIdx.x;
  bool here = c < C;
  long long base = (long long)n * steps * C + c;
  V h = here && !REVERSE ? h0[(long long)n * C + c] : zero();
  V x[STEPS], y[STEPS];
  auto place = [&](int s) { return base + (long long)(REVERSE ? steps - 1 - s : s) * C; };
  auto load = [&](int s0) {
    for (int i = 0; i < STEPS; i++) {
      int s = s0 + i;
      bool inside = here && s < steps;
      y[i] = inside ? b[place(s)] : zero();
      x[i] = !inside ? one() : !REVERSE ? a[place(s)] : s ? adjoint(a[place(s) + C]) : zero();
    }
  };
  load(group * STEPS);
  for (int tile = 0; tile < steps; tile += TILE) {
    V p = x[0], q = y[0], ax[STEPS], by[STEPS];
#pragma unroll
    for (int i = 0; i < STEPS; i++) {
      ax[i] = x[i], by[i] = y[i];
      if (i) p = times(ax[i], p), q = step(ax[i], q, by[i]);
    }
    share_p[group][threadIdx.x] = p, share_q[group][threadIdx.x] = q;
    if (tile + TILE < steps) load(tile + TILE + group * STEPS);
    __syncthreads();
    V mine = h;
#pragma unroll
    for (int w = 0; w < GROUPS; w++) {
      if (w == group) mine = h;
      h = step(share_p[w][threadIdx.x], h, share_q[w][threadIdx.x]);
    }
    __syncthreads();
#pragma unroll
    for (int i = 0; i < STEPS; i++) {
      mine = step(ax[i], mine, by[i]);
      int s = tile + group * STEPS + i;
      if (here && s < steps) out[place(s)] = mine;
    }
  }
}
