// Matrix tiles (Intel AMX; "Intel Architecture Instruction Set Extensions Programming Reference",
// chapter on AMX) and what turns numbers into them. Without them in the compiler's target this
// header is empty and INKSTONE_TILES is not set.

#pragma once

#include <cstdint>

#if defined(__AMX_BF16__) && defined(__AVX512BF16__) && defined(__linux__)
#define INKSTONE_TILES

#include <immintrin.h>

namespace inkstone {

constexpr int kSide = 16;   // outputs or rows of a tile
constexpr int kDepth = 32;  // inputs of a tile
constexpr int64_t kSmall = 1 << 16;  // weights that one thread multiplies before it wakes another

struct alignas(64) Tile {
  uint16_t pairs[kSide][2 * kSide];  // inputs 2 * i and 2 * i + 1 of each row
};

struct alignas(64) Sums {
  float of[kSide][kSide];
};

// What each of the eight tile registers holds: 16 lines of 64 bytes.
struct alignas(64) Shapes {
  uint8_t palette, start, unused[14];
  uint16_t bytes[16];
  uint8_t lines[16];
};

// In static memory: g++ 12 thinks that loading it reads but eight bytes, and may leave out others.
const Shapes kShapes = {
    1, 0, {}, {64, 64, 64, 64, 64, 64, 64, 64}, {16, 16, 16, 16, 16, 16, 16, 16}};

// 16 by 16 words: halves, then quarters, eighths and sixteenths change places.
inline void transpose(__m512i* x) {
  const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
#pragma GCC unroll 4
  for (int step = 8; step; step /= 2) {
    const __m512i by = _mm512_set1_epi32(step);
    const __mmask16 odd = _mm512_test_epi32_mask(lane, by);
    const __m512i low = _mm512_mask_add_epi32(lane, odd, lane, _mm512_set1_epi32(kSide - step));
    const __m512i high = _mm512_add_epi32(low, by);
#pragma GCC unroll 16
    for (int i = 0; i < kSide; ++i) {
      if (i & step) continue;
      const __m512i a = x[i], b = x[i + step];
      x[i] = _mm512_permutex2var_epi32(a, low, b);
      x[i + step] = _mm512_permutex2var_epi32(a, high, b);
    }
  }
}

// A tile of ``count`` rows, the rest of it zeros.
inline void pack(const uint16_t* x, int64_t stride, int64_t count, Tile* to) {
  __m512i words[kSide];
  for (int row = 0; row < kSide; ++row)
    words[row] = row < count ? _mm512_loadu_si512(x + row * stride) : _mm512_setzero_si512();
  transpose(words);
  for (int i = 0; i < kSide; ++i) _mm512_store_si512(to->pairs[i], words[i]);
}

// ``rows`` by ``inputs`` numbers times ``outputs`` by ``inputs`` weights, and a bias or null.
struct Operands {
  const uint16_t *x, *weight, *bias;
  uint16_t* out;
  int64_t rows, inputs, outputs;

  Operands(const void* x, const void* weight, const void* bias, void* out, int64_t rows,
           int64_t inputs, int64_t outputs)
      : x((const uint16_t*)x),
        weight((const uint16_t*)weight),
        bias((const uint16_t*)bias),
        out((uint16_t*)out),
        rows(rows),
        inputs(inputs),
        outputs(outputs) {}

  int64_t depth() const { return inputs / kDepth; }  // tiles of inputs
};

}  // namespace inkstone

#endif
