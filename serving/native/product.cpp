// Products of few rows with bf16 weights by the processor's matrix tiles (see tiles.h).
//
// Few rows cost what reading the weights costs. Here the weights are read once, as they lie: 16
// outputs by 32 inputs make a tile of them, and the activations, which are few, are turned to what
// the instruction takes. Out comes the product's transpose, 16 outputs by 16 rows at a time.
// Every output of every row is summed up in float32 in the order of the inputs and rounded once:
// its bits depend on nothing but its row.

#include "tiles.h"

#ifdef INKSTONE_TILES

#include <sys/syscall.h>
#include <unistd.h>

#include <vector>

namespace inkstone {

constexpr int kGroup = 4;  // tiles of rows that a tile of weights is multiplied with

// 16 outputs of ``kTiles`` tiles of rows. Meanwhile the next 16 outputs' weights, which lie behind
// these, are asked for.
template <int kTiles>
void multiply(const uint16_t* weight, int64_t inputs, const Tile* x, Sums* sums) {
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  const int64_t line = inputs * sizeof *weight;
  for (int64_t k = 0; k < inputs; k += kDepth, x += kTiles) {
    for (int i = kSide; i < 2 * kSide; ++i)
      _mm_prefetch((const char*)(weight + k) + i * line, _MM_HINT_T1);
    _tile_loadd(4, weight + k, line);
    _tile_loadd(5, x, 64);
    _tile_dpbf16ps(0, 4, 5);
    if (kTiles > 1) {
      _tile_loadd(6, x + 1, 64);
      _tile_dpbf16ps(1, 4, 6);
    }
    if (kTiles > 2) {
      _tile_loadd(7, x + 2, 64);
      _tile_dpbf16ps(2, 4, 7);
    }
    if (kTiles > 3) {
      _tile_loadd(5, x + 3, 64);
      _tile_dpbf16ps(3, 4, 5);
    }
  }
  _tile_stored(0, sums, 64);
  if (kTiles > 1) _tile_stored(1, sums + 1, 64);
  if (kTiles > 2) _tile_stored(2, sums + 2, 64);
  if (kTiles > 3) _tile_stored(3, sums + 3, 64);
}

constexpr decltype(&multiply<1>) kMultiply[] = {multiply<1>, multiply<2>, multiply<3>, multiply<4>};

// 16 outputs of ``count`` rows, to where they belong.
void finish(const Sums& sums, const uint16_t* bias, uint16_t* out, int64_t stride, int64_t count) {
  __m512i words[kSide];
  for (int i = 0; i < kSide; ++i) words[i] = _mm512_load_si512(sums.of[i]);
  transpose(words);
  __m512 added = _mm512_setzero_ps();
  if (bias) added = _mm512_cvtpbh_ps((__m256bh)_mm256_loadu_si256((const __m256i*)bias));
  for (int64_t row = 0; row < kSide && row < count; ++row) {
    __m512 value = _mm512_castsi512_ps(words[row]);
    if (bias) value = _mm512_add_ps(value, added);
    _mm256_storeu_si256((__m256i*)(out + row * stride), (__m256i)_mm512_cvtneps_pbh(value));
  }
}

struct Product : Operands {
  using Operands::Operands;

  int64_t tiles() const { return (rows + kSide - 1) / kSide; }
  int64_t wide(int64_t group) const {  // tiles of rows of a group
    return tiles() - group < kGroup ? tiles() - group : kGroup;
  }

  // Tiles lie by group, inputs and place in the group.
  void pack_rows(int64_t tile, int64_t k, Tile* packed) const {
    const int64_t group = tile / kGroup * kGroup, row = tile * kSide;
    Tile* to = packed + group * depth() + k * wide(group) + tile - group;
    pack(x + row * inputs + k * kDepth, inputs, rows - row, to);
  }

  // 16 outputs of all rows.
  void outputs_from(int64_t first, const Tile* packed) const {
    for (int64_t group = 0; group < tiles(); group += kGroup) {
      Sums sums[kGroup];
      kMultiply[wide(group) - 1](weight + first * inputs, inputs, packed + group * depth(), sums);
      for (int64_t tile = 0; tile < wide(group); ++tile) {
        const int64_t row = (group + tile) * kSide;
        finish(sums[tile], bias ? bias + first : nullptr, out + row * outputs + first, outputs,
               rows - row);
      }
    }
  }

  void run() const {
    static thread_local std::vector<Tile> kept;
    kept.resize(tiles() * depth());
    Tile* packed = kept.data();
#pragma omp parallel if (inputs * outputs > kSmall)
    {
      _tile_loadconfig(&kShapes);
#pragma omp for collapse(2)
      for (int64_t tile = 0; tile < tiles(); ++tile)
        for (int64_t k = 0; k < depth(); ++k) pack_rows(tile, k, packed);
#pragma omp for nowait
      for (int64_t first = 0; first < outputs; first += kSide) outputs_from(first, packed);
      _tile_release();
    }
  }
};

// Linux hands out the tiles' state on request only (Documentation/arch/x86/xstate.rst).
bool may_use_tiles() {
  constexpr int kRequestPermission = 0x1023, kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

}  // namespace inkstone

extern "C" {

int has_product() { return inkstone::may_use_tiles(); }

void product(const void* x, const void* weight, const void* bias, void* out, int64_t rows,
             int64_t inputs, int64_t outputs) {
  inkstone::Product(x, weight, bias, out, rows, inputs, outputs).run();
}
}

#else

extern "C" {

int has_product() { return 0; }

void product(const void*, const void*, const void*, void*, int64_t, int64_t, int64_t) {}
}

#endif
