// Products of many rows with bf16 weights by the processor's matrix tiles (see tiles.h).
//
// Many rows cost what computing costs, if the tiles' operands come as fast as they are multiplied.
// Each thread turns some of its outputs' weights into tiles, a block that stays in its second-level
// cache, and takes the rows 32 at a time: a piece of their inputs stays in the first-level cache,
// while the block's tiles stream by. Two tiles of rows by two of weights are four sums for four
// loads. The next rows, the next weights and the lines that will be written are asked for on the
// way, a few at every step: there are but few that a core can wait for at once.
// Every output of every row is summed up in float32 in the order of the inputs and rounded once,
// to the bits that a product of few rows gives (product.cpp).
//
// Gate and up projections in one: a panel is 16 outputs of each, and silu(gate) * up goes out. What
// would be written and read again in between is larger than anything else of a layer.

#include "floats.h"
#include "tiles.h"

#ifdef INKSTONE_TILES

#include <omp.h>

#include <algorithm>
#include <vector>

namespace inkstone {

constexpr int kPair = 2 * kSide;       // rows of a stripe, outputs of a panel: two tiles
constexpr int64_t kPiece = 16;         // tiles of inputs: 32 rows of so many are 32 KiB
constexpr int64_t kBlockTiles = 1024;  // of weights: 1 MiB
constexpr int64_t kBlockPanels = 32;   // their sums are 128 KiB
constexpr int kSoon = 256;             // bytes of a line of numbers that are asked for beforehand
constexpr int kLine = 64;              // bytes

// Memory that will be read, asked for as steps go by.
class Ahead {
 public:
  Ahead(const void* from, const void* end, int64_t steps)
      : at_((const char*)from), end_((const char*)end), steps_(steps) {
    lines_ = (end_ - at_) / kLine;
  }

  void step() {
    for (due_ += lines_; due_ >= steps_ && at_ < end_; due_ -= steps_, at_ += kLine)
      _mm_prefetch(at_, _MM_HINT_T1);
  }

 private:
  const char *at_, *end_;
  int64_t steps_, lines_, due_ = 0;
};

// 32 rows from some input on, as they lie or as tiles. Distances are in numbers.
struct Stripe {
  const uint16_t* at;
  int64_t row, tile, step;  // to the next row, the second tile of rows, the next 32 inputs

  Stripe from(int64_t k) const { return {at + k * step, row, tile, step}; }
};

// Lines that will be written.
struct Place {
  const uint16_t* at;  // null: none yet
  int64_t row;         // numbers
};

// 32 rows by 32 outputs: ``steps`` tiles of inputs on top of the sums so far.
inline void multiply_pairs(Stripe x, const Tile* weight, int64_t steps, bool first, Sums* sums,
                           Ahead& rows, Ahead& weights, Place place) {
  if (first) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  } else {
    _tile_loadd(0, sums, 64);
    _tile_loadd(1, sums + 1, 64);
    _tile_loadd(2, sums + 2, 64);
    _tile_loadd(3, sums + 3, 64);
  }
  const int64_t line = x.row * sizeof *x.at;
  for (; steps; --steps, x.at += x.step, weight += 2) {
    _tile_loadd(4, x.at, line);
    _tile_stream_loadd(6, weight, 64);
    _tile_dpbf16ps(0, 4, 6);
    rows.step();
    _tile_stream_loadd(7, weight + 1, 64);
    _tile_dpbf16ps(1, 4, 7);
    for (int i = 0; place.at && i < kPair / kPiece; ++i, place.at += place.row)
      __builtin_prefetch(place.at, 1);
    _tile_loadd(5, x.at + x.tile, line);
    _tile_dpbf16ps(2, 5, 6);
    weights.step();
    _tile_dpbf16ps(3, 5, 7);
  }
  _tile_stored(0, sums, 64);
  _tile_stored(1, sums + 1, 64);
  _tile_stored(2, sums + 2, 64);
  _tile_stored(3, sums + 3, 64);
}

struct Many : Operands {
  bool paired;  // the first half of the outputs are gates, the second half ups

  Many(const void* x, const void* weight, const void* bias, void* out, int64_t rows,
       int64_t inputs, int64_t outputs, bool paired)
      : Operands(x, weight, bias, out, rows, inputs, outputs), paired(paired) {}

  int64_t width() const { return paired ? outputs / 2 : outputs; }   // numbers of a row of ``out``
  int64_t first_of(int64_t panel) const { return panel * (paired ? kSide : kPair); }
  int64_t second_of(int64_t panel) const {
    return first_of(panel) + (paired ? outputs / 2 : kSide);
  }

  int64_t pieces() const { return (depth() + kPiece - 1) / kPiece; }
  int64_t start(int64_t piece) const { return depth() * piece / pieces(); }
  int64_t panels() const { return (outputs + kPair - 1) / kPair; }
  int64_t stripes() const { return (rows + kPair - 1) / kPair; }

  // Rows a multiple of 2 KiB apart fall on the same lines of the first-level cache: they are
  // copied to tiles. Else only the last ones are, where there are not 32.
  int64_t first_copied() const { return depth() % 32 ? rows / kPair : 0; }

  // A stripe as tiles, with zeros behind the last row.
  void copy_rows(int64_t stripe, Tile* to) const {
    const int64_t there = std::min<int64_t>(kPair, rows - stripe * kPair);
    const uint16_t* first = x + stripe * kPair * inputs;
    for (int64_t k = 0; k < depth(); ++k, first += kDepth, to += 2)
      for (int64_t i = 0; i < kPair; ++i) {
        const uint16_t* from = first + i * inputs;
        _mm_prefetch((const char*)from + kSoon, _MM_HINT_T0);
        _mm512_store_si512(to[i / kSide].pairs[i % kSide],
                           i < there ? _mm512_loadu_si512(from) : _mm512_setzero_si512());
      }
  }

  Stripe stripe(int64_t index, const Tile* copied) const {
    constexpr int64_t kTile = sizeof(Tile) / sizeof(uint16_t);
    if (index < first_copied())
      return {x + index * kPair * inputs, inputs, kSide * inputs, kDepth};
    copied += (index - first_copied()) * 2 * depth();
    return {copied->pairs[0], kDepth, kTile, 2 * kTile};
  }

  // 16 outputs by 32 inputs; zeros behind the last output.
  void pack_weights(int64_t output, int64_t k, Tile* to) const {
    const uint16_t* from = weight + output * inputs + k * kDepth;
    if (output >= outputs) {
      *to = Tile{};
      return;
    }
    for (int i = 0; i < kSide; ++i)
      _mm_prefetch((const char*)(from + i * inputs) + kSoon, _MM_HINT_T0);
    pack(from, inputs, kSide, to);
  }

  // Some panels by piece, panel and inputs.
  void pack_panels(int64_t first, int64_t count, Tile* to) const {
    for (int64_t piece = 0; piece < pieces(); ++piece)
      for (int64_t panel = first; panel < first + count; ++panel)
        for (int64_t k = start(piece); k < start(piece + 1); ++k, to += 2) {
          pack_weights(first_of(panel), k, to);
          pack_weights(second_of(panel), k, to + 1);
        }
  }

  // 32 rows of a panel, to where they belong.
  void finish(const Sums* sums, int64_t row, int64_t panel) const {
    const int64_t first = panel * kPair;
    const __mmask32 wanted = outputs - first < kPair ? 0xffff : 0xffffffff;
    __m512 low_bias = _mm512_setzero_ps(), high_bias = low_bias;
    if (bias) {
      const __m512i both = _mm512_maskz_loadu_epi16(wanted, bias + first);
      low_bias = _mm512_cvtpbh_ps((__m256bh)_mm512_castsi512_si256(both));
      high_bias = _mm512_cvtpbh_ps((__m256bh)_mm512_extracti64x4_epi64(both, 1));
    }
    for (int64_t i = 0; i < kPair && row + i < rows; ++i) {
      __m512 low = _mm512_load_ps(sums[i / kSide * 2].of[i % kSide]);
      __m512 high = _mm512_load_ps(sums[i / kSide * 2 + 1].of[i % kSide]);
      if (bias) {
        low = _mm512_add_ps(low, low_bias);
        high = _mm512_add_ps(high, high_bias);
      }
      _mm512_mask_storeu_epi16(out + (row + i) * outputs + first, wanted,
                               (__m512i)_mm512_cvtne2ps_pbh(high, low));
    }
  }

  // 16 gated numbers of 32 rows, of sums that are rounded as if they had been written.
  void finish_paired(const Sums* sums, int64_t row, int64_t panel) const {
    const int64_t first = first_of(panel), second = second_of(panel);
    for (int64_t i = 0; i < kPair && row + i < rows; ++i) {
      Floats gate = load(sums[i / kSide * 2].of[i % kSide]);
      Floats up = load(sums[i / kSide * 2 + 1].of[i % kSide]);
      if (bias) {
        gate += load((const Bf16*)bias + first);
        up += load((const Bf16*)bias + second);
      }
      Bf16 rounded[2 * kLanes];
      store(rounded, gate);
      store(rounded + kLanes, up);
      store((Bf16*)out + (row + i) * width() + first, gated(load(rounded), load(rounded + kLanes)));
    }
  }

  // All rows by ``count`` panels.
  void multiply(int64_t first, int64_t count, const Tile* packed, const Tile* copied, Sums* sums,
                Ahead weights) const {
    for (int64_t index = 0; index < stripes(); ++index) {
      const Stripe whole = stripe(index, copied);
      for (int64_t piece = 0; piece < pieces(); ++piece) {
        const int64_t at = start(piece), steps = start(piece + 1) - at;
        const Stripe part = whole.from(at), next = whole.from(at + steps);
        const bool last = piece + 1 == pieces();
        // Where rows lie as they came, the processor itself asks for what is next.
        const bool asks = index >= first_copied() && !(last && index + 1 == stripes());
        Ahead rows(next.at, next.at + (asks ? steps * next.step : 0), count * steps);
        for (int64_t panel = 0; panel < count; ++panel) {
          Sums* to = sums + 4 * panel;
          uint16_t* place = out + index * kPair * width() + first_of(first + panel);
          multiply_pairs(part, packed + 2 * (at * count + panel * steps), steps, piece == 0, to,
                         rows, weights, Place{last ? place : nullptr, width()});
          if (last && paired) finish_paired(to, index * kPair, first + panel);
          if (last && !paired) finish(to, index * kPair, first + panel);
        }
      }
    }
  }

  // One thread's panels, block by block.
  void panels_from(int64_t first, int64_t end, const Tile* copied) const {
    static thread_local std::vector<Tile> packed;
    static thread_local std::vector<Sums> sums;
    const int64_t most = std::clamp(kBlockTiles / (2 * depth()), int64_t{1}, kBlockPanels);
    const int64_t blocks = (end - first + most - 1) / most;
    packed.resize(std::max<size_t>(packed.size(), 2 * most * depth()));
    sums.resize(std::max<size_t>(sums.size(), 4 * most));
    const auto from = [&](int64_t block) {
      return first + (end - first) * std::min(block, blocks) / blocks;
    };
    const auto weights_of = [&](int64_t panel) {
      return weight + std::min(first_of(panel), width()) * inputs;
    };
    for (int64_t block = 0; block < blocks; ++block) {
      const int64_t count = from(block + 1) - from(block);
      pack_panels(from(block), count, packed.data());
      multiply(from(block), count, packed.data(), copied, sums.data(),
               Ahead(weights_of(from(block + 1)), weights_of(from(block + 2)),
                     stripes() * depth() * count));
    }
  }

  void run() const {
    static thread_local std::vector<Tile> kept;
    kept.resize(std::max<size_t>(kept.size(), (stripes() - first_copied()) * 2 * depth()));
    Tile* copied = kept.data();
#pragma omp parallel if (inputs * outputs > kSmall)
    {
      _tile_loadconfig(&kShapes);
#pragma omp for
      for (int64_t i = first_copied(); i < stripes(); ++i)
        copy_rows(i, copied + (i - first_copied()) * 2 * depth());
      const int64_t thread = omp_get_thread_num(), threads = omp_get_num_threads();
      panels_from(panels() * thread / threads, panels() * (thread + 1) / threads, copied);
      _tile_release();
    }
  }
};

}  // namespace inkstone

extern "C" {

void many(const void* x, const void* weight, const void* bias, void* out, int64_t rows,
          int64_t inputs, int64_t outputs, int paired) {
  inkstone::Many(x, weight, bias, out, rows, inputs, outputs, paired).run();
}
}

#else

extern "C" {

void many(const void*, const void*, const void*, void*, int64_t, int64_t, int64_t, int) {}
}

#endif
