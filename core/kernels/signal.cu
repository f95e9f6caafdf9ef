// Ordered scatter, Philox, sheet weights: a thread a result, unless said otherwise.

#define EACH_RESULT(count) \
  long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; \
  if (i >= (count)) return;

// out[row] = the sum of rows of g [count, width] whose index is `row`, each warp in the order of the index: it repeats.
// Blocks of 32 columns x 8 warps, blockIdx.y over rows; a warp looks at 32 entries of the index at once.
extern "C" __global__ void scatter_add(const T* __restrict__ g, const int* __restrict__ index, T* __restrict__ out,
                                       int count, int width, int first) {
  __shared__ T share[8][32];
  int c = blockIdx.x * 32 + threadIdx.x, row = first + blockIdx.y;
  T s = 0;
  for (int j0 = threadIdx.y * 32; j0 < count; j0 += 256) {
    int j = j0 + threadIdx.x;
    for (unsigned hits = __ballot_sync(~0u, j < count && index[j] == row); hits; hits &= hits - 1)
      if (c < width) s += g[(long long)(j0 + __ffs(hits) - 1) * width + c];
  }
  share[threadIdx.y][threadIdx.x] = s;
  __syncthreads();
  if (threadIdx.y == 0 && c < width) {
    T total = 0;
    for (int j = 0; j < 8; j++) total += share[j][threadIdx.x];
    out[(long long)blockIdx.y * width + c] = total;
  }
}

extern "C" __global__ void scatter_along(const T* __restrict__ g, const int* __restrict__ index, T* __restrict__ out, long long rows, int k, int n) {
  EACH_RESULT(rows * n)
  long long row = i / n;
  int place = i % n;
  T sum = 0;
  for (int j = 0; j < k; j++) if (index[row * k + j] == place) sum += g[row * k + j];
  out[i] = sum;
}

extern "C" __global__ void sheet_weight(const T* __restrict__ re, const T* __restrict__ im, const T* __restrict__ values, T* __restrict__ out, long long count, int S) {
  EACH_RESULT(count)
  T place = atan2(im[i], re[i]) * (T)(S / 6.283185307179586), low = floor(place);
  T rising = sin((place - low) * (T)1.5707963267948966);
  int at = ((int)low % S + S) % S;  // between two centres the hats are cos^2 and sin^2 of the way
  out[i] = values[at] + (values[(at + 1) % S] - values[at]) * rising * rising;
}

// --- Philox4x32-10 (Salmon et al. 2011): a thread a counter, four numbers, from counter `first` on ------------------

struct alignas(4 * sizeof(T)) Four { T v[4]; };  // stored at once
struct alignas(16) Words { unsigned v[4]; };

#define COUNTER unsigned first, unsigned k0, unsigned k1, unsigned low, unsigned high, unsigned stream
#define WORDS(block) philox(first + (unsigned)(block), k0, k1, low, high, stream)

__device__ Words philox(unsigned block, unsigned k0, unsigned k1, unsigned low, unsigned high, unsigned stream) {
  Words c = {block, low, high, stream};
#pragma unroll
  for (int r = 0; r < 10; r++) {
    unsigned long long a = 0xD2511F53ull * c.v[0], b = 0xCD9E8D57ull * c.v[2];
    c = {(unsigned)(b >> 32) ^ c.v[1] ^ k0, (unsigned)b, (unsigned)(a >> 32) ^ c.v[3] ^ k1, (unsigned)a};
    k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
  }
  return c;
}

template <class Quad> __device__ void store(Quad quad, decltype(quad.v[0] + 0)* out, long long i, long long count) {
  if (i + 3 < count) *(Quad*)(out + i) = quad;
  else for (int k = 0; i + k < count; k++) out[i + k] = quad.v[k];
}

extern "C" __global__ void random_bits(unsigned* __restrict__ out, long long count, COUNTER) {
  EACH_RESULT((count + 3) / 4)
  store(WORDS(i), out, 4 * i, count);
}

extern "C" __global__ void random_uniform(T* __restrict__ out, long long count, COUNTER) {
  EACH_RESULT((count + 3) / 4)
  Words w = WORDS(i);
  Four four;
#pragma unroll
  for (int k = 0; k < 4; k++) four.v[k] = (T)((w.v[k] >> 8) * 0x1p-24);
  store(four, out, 4 * i, count);
}

// Box & Muller: the radius from word i, the angle from word pairs + i; cosines fill the first half of `out`, then sines
extern "C" __global__ void random_normal(T* __restrict__ out, long long count, COUNTER) {
  long long pairs = (count + 1) / 2;
  EACH_RESULT((pairs + 3) / 4)
  int shift = pairs % 4;  // the angles of a thread lie in one counter, or in two
  Words r = WORDS(i), angle[2] = {WORDS(pairs / 4 + i), {}};
  if (shift) angle[1] = WORDS(pairs / 4 + i + 1);
#pragma unroll
  for (int k = 0; k < 4; k++) {
    unsigned a = 0;
#pragma unroll
    for (int s = 0; s < 4; s++) a = s == shift ? angle[(k + s) / 4].v[(k + s) % 4] : a;
    double radius = sqrt(-2 * log((r.v[k] + 0.5) * 0x1p-32)), sine, cosine;
    sincospi(2 * (a + 0.5) * 0x1p-32, &sine, &cosine);
    long long at = 4 * i + k;
    if (at < pairs) out[at] = (T)(radius * cosine);
    if (pairs + at < count && at < pairs) out[pairs + at] = (T)(radius * sine);
  }
}
