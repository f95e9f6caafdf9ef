// Depthwise causal convolution, y[t] = sum_k w[k] x[t - k dilation] with `tail` before x, and its gradients; TAPS, RUN
// and STRETCH are compiled in.

// Over [N, steps, C] by blocks of 32 channels x 8 steps, blockIdx.x over channels of sequences, blockIdx.y over their steps
#define PLACE \
  int across = (C + 31) / 32, n = blockIdx.x / across, c = blockIdx.x % across * 32 + threadIdx.x; \
  long long first = (long long)n * steps * C + c; \
  long long before = ((long long)n + 1) * (TAPS - 1) * dilation * C + c  // just past the end of the sequence's tail
#define EACH_STEP(t) \
  for (int t = blockIdx.y * STRETCH + threadIdx.y; t < min(steps, (int)(blockIdx.y + 1) * STRETCH); t += 8)

// A thread takes RUN steps that lie `dilation` apart, so each value that it loads serves TAPS of them
#define SPACED_STEPS \
  int job = blockIdx.y * 8 + threadIdx.y, start = job / dilation * RUN * dilation + job % dilation; \
  if (c >= C || start >= steps) return

extern "C" __global__ void causal_conv(const T* __restrict__ x, const T* __restrict__ w, const T* __restrict__ tail,
                                       T* __restrict__ out, int steps, int C, int dilation) {
  PLACE;
  SPACED_STEPS;
  T near[RUN + TAPS - 1];
#pragma unroll
  for (int i = 0; i < RUN + TAPS - 1; i++) {
    int from = start + (i - (TAPS - 1)) * dilation;
    near[i] = from >= steps ? 0 : from >= 0 ? x[first + (long long)from * C] : tail[before + (long long)from * C];
  }
#pragma unroll
  for (int i = 0; i < RUN; i++) {
    T sum = 0;
#pragma unroll
    for (int k = 0; k < TAPS; k++) sum += w[k * C + c] * near[i + TAPS - 1 - k];
    int t = start + i * dilation;
    if (t < steps) out[first + (long long)t * C] = sum;
  }
}

extern "C" __global__ void causal_conv_dx(const T* __restrict__ g, const T* __restrict__ w, T* __restrict__ out,
                                          int steps, int C, int dilation) {
  PLACE;
  SPACED_STEPS;
  T near[RUN + TAPS - 1];
#pragma unroll
  for (int i = 0; i < RUN + TAPS - 1; i++) {
    int from = start + i * dilation;
    near[i] = from < steps ? g[first + (long long)from * C] : 0;
  }
#pragma unroll
  for (int i = 0; i < RUN; i++) {
    T sum = 0;
#pragma unroll
    for (int k = 0; k < TAPS; k++)
      if (start + (i + k) * dilation < steps) sum += w[k * C + c] * near[i + k];
    int t = start + i * dilation;
    if (t < steps) out[first + (long long)t * C] = sum;
  }
}

// partial sums [N, parts, TAPS, C], a part a stretch of steps
extern "C" __global__ void causal_conv_dw(const T* __restrict__ g, const T* __restrict__ x, const T* __restrict__ tail,
                                          T* __restrict__ out, int steps, int C, int dilation) {
  __shared__ T share[8][32];
  PLACE;
  T s[TAPS] = {};
  if (c < C) EACH_STEP(t) {
    T here = g[first + (long long)t * C];
#pragma unroll
    for (int k = 0; k < TAPS; k++) {
      int from = t - k * dilation;
      s[k] += here * (from >= 0 ? x[first + (long long)from * C] : tail[before + (long long)from * C]);
    }
  }
  for (int k = 0; k < TAPS; k++) {
    share[threadIdx.y][threadIdx.x] = s[k];
    __syncthreads();
    if (threadIdx.y == 0 && c < C) {
      T total = 0;
      for (int j = 0; j < 8; j++) total += share[j][threadIdx.x];
      out[(((long long)n * gridDim.y + blockIdx.y) * TAPS + k) * C + c] = total;
    }
    __syncthreads();
  }
}
