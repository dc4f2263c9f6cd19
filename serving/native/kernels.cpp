// What lies between a decoder's products, one pass each. Compiled at run time for the processor
// at hand (build.py), called through ctypes (kernels.py), threads by OpenMP.
//
// Every row, and every head of a row, is computed by one thread in one order: its bits depend on
// nothing but itself. Arithmetic is float32.

#include "floats.h"

#include <cstdint>
#include <cstring>
#include <vector>

namespace inkstone {

constexpr int kTile = 4;  // queries that share one pass over the keys; ``totals`` sums as many
constexpr int kAhead = 16, kLine = 64;  // tokens, bytes
constexpr int64_t kAlone = 1 << 14;  // numbers that one thread does sooner than it wakes another

template <typename T>
void add_norm(T* hidden, const T* added, const T* weight, T* out, int64_t rows, int64_t size,
              float epsilon) {
#pragma omp parallel for if (rows > 1 && rows * size > kAlone)
  for (int64_t row = 0; row < rows; ++row) {
    T* own = hidden + row * size;
    Floats squares{};
    for (int64_t i = 0; i < size; i += kLanes) {
      if (added) store(own + i, load(own + i) + load(added + row * size + i));
      Floats x = load(own + i);
      squares += x * x;
    }
    float factor = 1.0f / __builtin_sqrtf(total(squares) / size + epsilon);
    for (int64_t i = 0; i < size; i += kLanes)
      store(out + row * size + i, load(own + i) * factor * load(weight + i));
  }
}

template <typename T>
void rotate(T* heads, const T* cosines, const T* sines, int64_t rows, int64_t stride,
            int64_t turned, int64_t size) {
  int64_t half = size / 2;
#pragma omp parallel for if (rows > 1 && rows * turned * size > kAlone)
  for (int64_t row = 0; row < rows; ++row) {
    const T *cosine = cosines + row * size, *sine = sines + row * size;
    for (int64_t head = 0; head < turned; ++head) {
      T *low = heads + row * stride + head * size, *high = low + half;
      for (int64_t i = 0; i < half; i += kLanes) {
        Floats a = load(low + i), b = load(high + i);
        store(low + i, a * load(cosine + i) + b * load(sine + i));
        store(high + i, b * load(cosine + half + i) + a * load(sine + half + i));
      }
    }
  }
}

template <typename T>
void swiglu(const T* both, T* out, int64_t rows, int64_t size) {
#pragma omp parallel for if (rows > 1 && rows * size > kAlone)
  for (int64_t row = 0; row < rows; ++row) {
    const T *gate = both + 2 * row * size, *up = gate + size;
    for (int64_t i = 0; i < size; i += kLanes)
      store(out + row * size + i, gated(load(gate + i), load(up + i)));
  }
}

template <typename T>
void quantise(const T* x, int8_t* codes, float* scales, int64_t rows, int64_t size) {
#pragma omp parallel for if (rows > 1 && rows * size > kAlone)
  for (int64_t row = 0; row < rows; ++row) {
    const T* own = x + row * size;
    Floats most{}, never{};  // never: NaN where a number is not finite, else 0
    for (int64_t i = 0; i < size; i += kLanes) {
      Floats value = load(own + i), positive = value < 0.0f ? -value : value;
      most = positive > most ? positive : most;
      never += value - value;
    }
    float scale = highest(most) / 127.0f;
    float inverse = scale > 0.0f ? 1.0f / scale : 0.0f;
    scales[row] = scale + total(never);
    for (int64_t i = 0; i < size; i += kLanes) {
      Ints whole = (Ints)(load(own + i) * inverse + kMagic) - 0x4b400000;
      Bytes bytes = __builtin_convertvector(whole, Bytes);
      std::memcpy(codes + row * size + i, &bytes, sizeof bytes);
    }
  }
}

template <typename T>
void rescale(const float* x, const float* scales, const T* bias, T* out, int64_t rows,
             int64_t size) {
#pragma omp parallel for if (rows > 1 && rows * size > kAlone)
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t i = 0; i < size; i += kLanes) {
      Floats value = load(x + row * size + i) * scales[row];
      if (bias) value += load(bias + i);
      store(out + row * size + i, value);
    }
}

constexpr int64_t kRun = 64;  // vectors that are summed up at a time: rounding stays small

// The first of each row's largest numbers, and the logarithm of the sum of its exponentials: NaN
// where a number is NaN or the largest not finite.
template <typename T>
void likeliest(const T* logits, int64_t* tokens, float* norms, int64_t rows, int64_t size) {
  const float none = -__builtin_inff();
#pragma omp parallel for if (rows > 1 && rows * size > kAlone)
  for (int64_t row = 0; row < rows; ++row) {
    const T* own = logits + row * size;
    const int64_t whole = size / kLanes * kLanes;
    T spare[kLanes];  // the last numbers, and nothing behind them
    store(spare, Floats{} + none);
    std::memcpy(spare, own + whole, (size - whole) * sizeof(T));
    const auto at = [&](int64_t i) { return load(i < whole ? own + i : spare); };
    Floats most{};
    most += none;
    Ints place{}, where{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, never{};
    for (int64_t i = 0; i < size; i += kLanes, where += kLanes) {
      Floats value = at(i);
      Ints larger = value > most;
      most = larger ? value : most;
      place = larger ? where : place;
      never |= value != value;
    }
    const float top = highest(most);
    int64_t token = size;
    bool nan = false;
    for (int i = 0; i < kLanes; ++i) {
      if (most[i] == top && place[i] < token) token = place[i];
      nan |= never[i] != 0;
    }
    tokens[row] = token < size ? token : 0;
    norms[row] = __builtin_nanf("");
    if (nan || top - top != 0.0f) continue;
    float sum = 0.0f;
    for (int64_t first = 0; first < size; first += kRun * kLanes) {
      const int64_t end = first + kRun * kLanes < size ? first + kRun * kLanes : size;
      Floats part{};
      for (int64_t i = first; i < end; i += kLanes) part += exponential(at(i) - top);
      sum += total(part);
    }
    norms[row] = top + __builtin_logf(sum);
  }
}

struct Pages {
  const int64_t* table;  // blocks of one row
  int64_t length, block, stride;  // tokens, tokens per block, numbers per token

  // ``visit(token, vector)`` for every token's vector in ``cache``, in order. A head's vectors lie
  // apart, where the processor fetches nothing by itself: they are asked for some tokens ahead.
  template <typename T, typename Visit>
  void each(const T* cache, int64_t size, Visit visit) const {
    for (int64_t first = 0, page = 0; first < length; first += block, ++page) {
      const T* own = cache + table[page] * block * stride;
      int64_t end = first + block < length ? first + block : length;
      const T* next = end < length ? cache + table[page + 1] * block * stride : own;
      for (int64_t token = first; token < end; ++token, own += stride) {
        int64_t over = token + kAhead - end;
        const char* ahead = (const char*)(over < 0 ? own + kAhead * stride : next + over * stride);
        for (int64_t byte = 0; byte < size * (int64_t)sizeof(T); byte += kLine)
          __builtin_prefetch(ahead + byte);
        visit(token, own);
      }
    }
  }
};

// kTile queries of one key head over all tokens; ``kSize`` numbers a head, 0: ``size`` of them.
template <typename T, int kSize>
void attend(const T* const* queries, const T* keys, const T* values, const Pages& pages,
            int64_t size, float scale, float* weights, T* const* outs) {
  constexpr int kParts = kSize ? kSize / kLanes : 256 / kLanes;
  const int parts = kSize ? kParts : size / kLanes;
  const int64_t padded = (pages.length + kLanes - 1) / kLanes * kLanes;
  Floats query[kTile][kParts];
  for (int q = 0; q < kTile; ++q)
    for (int p = 0; p < parts; ++p) query[q][p] = load(queries[q] + p * kLanes) * scale;
  pages.each(keys, size, [&](int64_t token, const T* key) {
    Floats sums[kTile] = {};
    for (int p = 0; p < parts; ++p) {
      Floats part = load(key + p * kLanes);
      for (int q = 0; q < kTile; ++q) sums[q] += query[q][p] * part;
    }
    Floats4 scores = totals(sums);
    for (int q = 0; q < kTile; ++q) weights[q * padded + token] = scores[q];
  });
  float factors[kTile];
  for (int q = 0; q < kTile; ++q) {
    float* own = weights + q * padded;
    for (int64_t token = pages.length; token < padded; ++token) own[token] = -1e30f;
    Floats most = load(own);
    for (int64_t i = kLanes; i < padded; i += kLanes) {
      Floats score = load(own + i);
      most = score > most ? score : most;
    }
    float top = highest(most);
    Floats sum{};
    for (int64_t i = 0; i < padded; i += kLanes) {
      Floats weight = exponential(load(own + i) - top);
      store(own + i, weight);
      sum += weight;
    }
    factors[q] = 1.0f / total(sum);
  }
  Floats mixed[kTile][kParts] = {};
  pages.each(values, size, [&](int64_t token, const T* value) {
    for (int p = 0; p < parts; ++p) {
      Floats part = load(value + p * kLanes);
      for (int q = 0; q < kTile; ++q) mixed[q][p] += weights[q * padded + token] * part;
    }
  });
  for (int q = 0; q < kTile; ++q)
    for (int p = 0; p < parts; ++p) store(outs[q] + p * kLanes, mixed[q][p] * factors[q]);
}

template <typename T>
void decode(const T* queries, int64_t query_stride, const T* cache, const int64_t* tables,
            int64_t table_stride, const int64_t* lengths, int64_t block, int64_t rows,
            int64_t heads, int64_t kv_heads, int64_t size, float scale, T* out) {
  const int64_t group = heads / kv_heads, tiles = (group + kTile - 1) / kTile;
#pragma omp parallel
  {
    std::vector<float> weights;
    std::vector<T> spare(size);
#pragma omp for collapse(3) schedule(dynamic)
    for (int64_t row = 0; row < rows; ++row)
      for (int64_t head = 0; head < kv_heads; ++head)
        for (int64_t tile = 0; tile < tiles; ++tile) {
          Pages pages{tables + row * table_stride, lengths[row], block, 2 * kv_heads * size};
          weights.resize(kTile * (pages.length + kLanes));
          const T* from[kTile];
          T* to[kTile];
          for (int q = 0; q < kTile; ++q) {
            int64_t own = tile * kTile + q;
            bool real = own < group;  // the last tile's rest computes what nobody reads
            int64_t which = head * group + (real ? own : group - 1);
            from[q] = queries + row * query_stride + which * size;
            to[q] = real ? out + (row * heads + which) * size : spare.data();
          }
          const T *keys = cache + head * size, *values = keys + kv_heads * size;
          auto run = size == 64 ? attend<T, 64> : size == 128 ? attend<T, 128> : attend<T, 0>;
          run(from, keys, values, pages, size, scale, weights.data(), to);
        }
  }
}

}  // namespace inkstone

// ``half``: numbers are bf16, else float32.
#define CALL(call)                \
  if (half) {                     \
    using T = inkstone::Bf16;     \
    inkstone::call;               \
  } else {                        \
    using T = float;              \
    inkstone::call;               \
  }

extern "C" {

void add_norm(int half, void* hidden, const void* added, const void* weight, void* out,
              int64_t rows, int64_t size, float epsilon) {
  CALL(add_norm((T*)hidden, (const T*)added, (const T*)weight, (T*)out, rows, size, epsilon))
}

void rotate(int half, void* heads, const void* cosines, const void* sines, int64_t rows,
            int64_t stride, int64_t turned, int64_t size) {
  CALL(rotate((T*)heads, (const T*)cosines, (const T*)sines, rows, stride, turned, size))
}

void swiglu(int half, const void* both, void* out, int64_t rows, int64_t size) {
  CALL(swiglu((const T*)both, (T*)out, rows, size))
}

void quantise(int half, const void* x, int8_t* codes, float* scales, int64_t rows, int64_t size) {
  CALL(quantise((const T*)x, codes, scales, rows, size))
}

void rescale(int half, const float* x, const float* scales, const void* bias, void* out,
             int64_t rows, int64_t size) {
  CALL(rescale(x, scales, (const T*)bias, (T*)out, rows, size))
}

void likeliest(int half, const void* logits, int64_t* tokens, float* norms, int64_t rows,
               int64_t size) {
  CALL(likeliest((const T*)logits, tokens, norms, rows, size))
}

void decode(int half, const void* queries, int64_t query_stride, const void* cache,
            const int64_t* tables, int64_t table_stride, const int64_t* lengths, int64_t block,
            int64_t rows, int64_t heads, int64_t kv_heads, int64_t size, float scale, void* out) {
  CALL(decode((const T*)queries, query_stride, (const T*)cache, tables, table_stride, lengths,
              block, rows, heads, kv_heads, size, scale, (T*)out))
}
}
