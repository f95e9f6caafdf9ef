// Depthwise causal convolution, y[t] = sum_k w[k] x[t - k dilation] with `tail` before x, and its gradients; TAPS and
// STRETCH are compiled in.

// Over [N, steps, C] by blocks of 32 channels x 8 steps, blockIdx.x over channels of sequences, blockIdx.y over their steps
#define PLACE \
  int across = (C + 31) / 32, n = blockIdx.x / across, c = blockIdx.x % across * 32 + threadIdx.x; \
  long long first = (long long)n * steps * C + c; \
  long long before = ((long long)n + 1) * (TAPS - 1) * dilation * C + c  // just past the end of the sequence's tail
#define EACH_STEP(t) \
  for (int t = blockIdx.y * STRETCH + threadIdx.y; t < min(steps, (int)(blockIdx.y + 1) * STRETCH); t += 8)

extern "C" __global__ void causal_conv(const T* __restrict__ x, const T* __restrict__ w, const T* __restrict__ tail,
                                       T* __restrict__ out, int steps, int C, int dilation) {
  PLACE;
  if (c >= C) return;
  EACH_STEP(t) {
    T sum = 0;
#pragma unroll
    for (int k = 0; k < TAPS; k++) {
      int from = t - k * dilation;
      sum += w[k * C + c] * (from >= 0 ? x[first + (long long)from * C] : tail[before + (long long)from * C]);
    }
    out[first + (long long)t * C] = sum;
  }
}

extern "C" __global__ void causal_conv_dx(const T* __restrict__ g, const T* __restrict__ w, T* __restrict__ out,
                                          int steps, int C, int dilation) {
  PLACE;
  if (c >= C) return;
  EACH_STEP(t) {
    T sum = 0;
#pragma unroll
    for (int k = 0; k < TAPS; k++)
      if (t + k * dilation < steps) sum += w[k * C + c] * g[first + (long long)(t + k * dilation) * C];
    out[first + (long long)t * C] = sum;
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
