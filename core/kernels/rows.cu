// Rows and columns: sums, norms, cross-entropy. A warp takes a row; sums keep one order that the shape alone decides.

#define ROW \
  int lane = threadIdx.x & 31; \
  long long row = (long long)blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32; \
  if (row >= rows) return;
#if PER  // values of a row that a lane holds: they are loaded at once and stay in registers
#define EACH(c) _Pragma("unroll") for (int k = 0, c = lane; k < PER; k++, c += 32) if (c < C)
#else
#define EACH(c) for (int c = lane; c < C; c += 32)
#endif

__device__ T warp_sum(T v) {  // every lane gets the same bits: addition commutes
  for (int o = 16; o; o >>= 1) v += __shfl_xor_sync(~0u, v, o);
  return v;
}

__device__ T warp_max(T v) {
  for (int o = 16; o; o >>= 1) v = fmax(v, __shfl_xor_sync(~0u, v, o));
  return v;
}

// --- sums ------------------------------------------------------------------------------------------------------------

// [rows, parts x width] -> [rows, parts]: a block a part; the last part may be short
extern "C" __global__ void sum_rows(const T* __restrict__ x, T* __restrict__ out, long long length, int width, int parts) {
  __shared__ T share[32];
  const T* from = x + blockIdx.y * length + (long long)blockIdx.x * width;
  long long count = min((long long)width, length - (long long)blockIdx.x * width);
  T s[4] = {0, 0, 0, 0};  // independent chains keep more loads in flight
  long long i = threadIdx.x;
  for (; i + 3 * blockDim.x < count; i += 4 * blockDim.x)
#pragma unroll
    for (int k = 0; k < 4; k++) s[k] += from[i + k * blockDim.x];
  for (; i < count; i += blockDim.x) s[0] += from[i];
  T total = warp_sum((s[0] + s[1]) + (s[2] + s[3]));
  if ((threadIdx.x & 31) == 0) share[threadIdx.x / 32] = total;
  __syncthreads();
  if (threadIdx.x < 32) {
    total = warp_sum(threadIdx.x < blockDim.x / 32 ? share[threadIdx.x] : 0);
    if (threadIdx.x == 0) out[(long long)blockIdx.y * parts + blockIdx.x] = total;
  }
}

extern "C" __global__ void sum_short_rows(const T* __restrict__ x, T* __restrict__ out, long long rows, int C) {
  ROW
  T s = 0;
  EACH(c) s += x[row * C + c];
  s = warp_sum(s);
  if (lane == 0) out[row] = s;
}

// [outer, rows, C] -> [outer, parts, C]: a block of 32 columns x 8 rows a part of `width` rows
#define COLUMNS(value) \
  __shared__ T share[8][32]; \
  int c = blockIdx.x * 32 + threadIdx.x, part = blockIdx.y; \
  long long base = (long long)blockIdx.z * rows; \
  long long end = min((long long)rows, (long long)(part + 1) * width); \
  T s[2] = {0, 0}; \
  long long r = (long long)part * width + threadIdx.y; \
  if (c < C) { \
    for (; r + 8 < end; r += 16) { \
      { long long row = base + r, i = row * C + c; s[0] += value; } \
      { long long row = base + r + 8, i = row * C + c; s[1] += value; } \
    } \
    for (; r < end; r += 8) { long long row = base + r, i = row * C + c; s[0] += value; } \
  } \
  share[threadIdx.y][threadIdx.x] = s[0] + s[1]; \
  __syncthreads(); \
  if (threadIdx.y == 0 && c < C) { \
    T total = 0; \
    for (int k = 0; k < 8; k++) total += share[k][threadIdx.x]; \
    out[((long long)blockIdx.z * gridDim.y + part) * C + c] = total; \
  }

extern "C" __global__ void sum_columns(const T* __restrict__ x, T* __restrict__ out, int rows, int C, int width) { COLUMNS(x[i]) }

// --- norms: CENTRED takes the mean away (layer norm), else it is the RMS norm --------------------------------------------

__device__ void moments(const T* x, int C, int lane, bool centred, T& mean, T& r) {
  mean = 0;
  if (centred) {
    EACH(c) mean += x[c];
    mean = warp_sum(mean) / C;
  }
  T s = 0;
  EACH(c) s += (x[c] - mean) * (x[c] - mean);
  r = 1 / sqrt(warp_sum(s) / C + (T)EPSILON);
}

extern "C" __global__ void row_norm(const T* __restrict__ x, const T* __restrict__ w, const T* __restrict__ b, T* __restrict__ out, long long rows, int C, int centred) {
  ROW
  T mean, r;
  moments(x + row * C, C, lane, centred, mean, r);
  EACH(c) out[row * C + c] = (x[row * C + c] - mean) * r * w[c] + (centred ? b[c] : 0);
}

extern "C" __global__ void row_norm_dx(const T* __restrict__ g, const T* __restrict__ x, const T* __restrict__ w, T* __restrict__ out, long long rows, int C, int centred) {
  ROW
  T mean, r, level = 0, dot = 0;
  moments(x + row * C, C, lane, centred, mean, r);
  EACH(c) {
    T gw = g[row * C + c] * w[c];
    level += gw;
    dot += gw * (x[row * C + c] - mean);
  }
  level = centred ? warp_sum(level) / C : 0;
  T shrink = warp_sum(dot) / C * r * r;
  EACH(c) out[row * C + c] = r * (g[row * C + c] * w[c] - level - (x[row * C + c] - mean) * shrink);
}

extern "C" __global__ void row_moments(const T* __restrict__ x, T* __restrict__ out, long long rows, int C, int centred) {
  ROW
  T mean, r;
  moments(x + row * C, C, lane, centred, mean, r);
  if (lane == 0) out[2 * row] = mean, out[2 * row + 1] = r;
}

extern "C" __global__ void row_norm_dw(const T* __restrict__ g, const T* __restrict__ x, const T* __restrict__ m, T* __restrict__ out, int rows, int C, int width) {
  COLUMNS(g[i] * (x[i] - m[2 * row]) * m[2 * row + 1])
}

// --- cross-entropy -----------------------------------------------------------------------------------------------------

__device__ T spread(const T* x, int C, int lane, int target, T& top, T& hit) {
  top = (T)__int_as_float(0xff800000);  // -infinity
  hit = 0;
  EACH(c) {
    top = fmax(top, x[c]);  // NaN shows in the sum
    if (c == target) hit = x[c];  // by the lane that holds it: no second way to memory
  }
  top = warp_max(top);
  hit = __shfl_sync(~0u, hit, target & 31);
  T s = 0;
  EACH(c) s += exp(x[c] - top);
  return warp_sum(s);
}

extern "C" __global__ void cross_entropy(const T* __restrict__ x, const int* __restrict__ target, T* __restrict__ out, long long rows, int C) {
  ROW
  int t = target[row];
  T top, hit, total = spread(x + row * C, C, lane, t, top, hit);
  if (lane == 0) out[row] = t < 0 || t >= C ? (T)__int_as_float(0x7fffffff) : log(total) + top - hit;
}

extern "C" __global__ void cross_entropy_grad(const T* __restrict__ g, const T* __restrict__ x, const int* __restrict__ target, T* __restrict__ out, long long rows, int C) {
  ROW
  int t = target[row];
  T scale = g[row], top, hit, total = spread(x + row * C, C, lane, t, top, hit);
  EACH(c) out[row * C + c] = scale * (exp(x[row * C + c] - top) / total - (c == t ? 1 : 0));
}
