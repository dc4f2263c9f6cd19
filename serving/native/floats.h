// Vectors of sixteen floats, which the compiler splits where the processor's are shorter, and bf16
// numbers read into them and written from them with round to nearest even.

#pragma once

#include <cstdint>
#include <cstring>

namespace inkstone {

constexpr int kLanes = 16;

typedef float Floats __attribute__((vector_size(64)));
typedef float Floats8 __attribute__((vector_size(32)));
typedef float Floats4 __attribute__((vector_size(16)));
typedef int32_t Ints __attribute__((vector_size(64)));
typedef uint32_t Words __attribute__((vector_size(64)));
typedef uint16_t Halves __attribute__((vector_size(32)));
typedef int8_t Bytes __attribute__((vector_size(16)));

struct Bf16 {
  uint16_t bits;
};

inline Floats load(const float* from) {
  Floats x;
  std::memcpy(&x, from, sizeof x);
  return x;
}

inline Floats load(const Bf16* from) {
  Halves x;
  std::memcpy(&x, from, sizeof x);
  return (Floats)(__builtin_convertvector(x, Words) << 16);
}

inline void store(float* to, Floats x) { std::memcpy(to, &x, sizeof x); }

inline void store(Bf16* to, Floats x) {
  Words bits = (Words)x;
  bits += 0x7fffu + ((bits >> 16) & 1u);
  bits = (x != x) ? (Words{} + 0x7fc00000u) : bits;
  Halves halves = __builtin_convertvector(bits >> 16, Halves);
  std::memcpy(to, &halves, sizeof halves);
}

inline Floats4 fold(Floats x) {
  Floats8 eight = __builtin_shufflevector(x, x, 0, 1, 2, 3, 4, 5, 6, 7) +
                  __builtin_shufflevector(x, x, 8, 9, 10, 11, 12, 13, 14, 15);
  return __builtin_shufflevector(eight, eight, 0, 1, 2, 3) +
         __builtin_shufflevector(eight, eight, 4, 5, 6, 7);
}

// The sums of four vectors.
inline Floats4 totals(const Floats* x) {
  Floats4 a = fold(x[0]), b = fold(x[1]), c = fold(x[2]), d = fold(x[3]);
  Floats4 ab = __builtin_shufflevector(a, b, 0, 4, 1, 5) + __builtin_shufflevector(a, b, 2, 6, 3, 7);
  Floats4 cd = __builtin_shufflevector(c, d, 0, 4, 1, 5) + __builtin_shufflevector(c, d, 2, 6, 3, 7);
  return __builtin_shufflevector(ab, cd, 0, 1, 4, 5) + __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
}

inline float total(Floats x) {
  Floats4 sums = fold(x);
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

inline float highest(Floats x) {
  float most = x[0];
  for (int i = 1; i < kLanes; ++i) most = x[i] > most ? x[i] : most;
  return most;
}

constexpr float kMagic = 12582912.0f;  // 1.5 * 2^23: what is added to it is rounded to an integer

// 2^n * 2^f with |f| <= 1/2; Taylor's series of e^r in r = f * ln 2, relative error below 2e-7.
inline Floats exponential(Floats x) {
  x = x < -87.0f ? Floats{} - 87.0f : x;
  x = x > 88.0f ? Floats{} + 88.0f : x;
  Floats shifted = x * 1.44269504f + kMagic;
  Floats n = shifted - kMagic;
  Floats r = x - n * 0.693359375f + n * 2.12194440e-4f;
  Floats p = r * (1.0f / 5040) + (1.0f / 720);
  p = p * r + (1.0f / 120);
  p = p * r + (1.0f / 24);
  p = p * r + (1.0f / 6);
  p = p * r + 0.5f;
  p = p * r * r + r + 1.0f;
  Ints power = ((Ints)shifted - 0x4b400000 + 127) << 23;
  return p * (Floats)power;
}

// silu(gate) * up
inline Floats gated(Floats gate, Floats up) { return gate / (1.0f + exponential(-gate)) * up; }

}  // namespace inkstone
