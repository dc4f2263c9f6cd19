// All layers of a decode step in one call: the other kernels one after the other. Between two of
// them nothing waits for an interpreter, or for the lock of one whose other threads deliver tokens.

#include <cstdint>
#include <cstring>

extern "C" {

void add_norm(int half, void* hidden, const void* added, const void* weight, void* out,
              int64_t rows, int64_t size, float epsilon);
void rotate(int half, void* heads, const void* cosines, const void* sines, int64_t rows,
            int64_t stride, int64_t turned, int64_t size);
void swiglu(int half, const void* both, void* out, int64_t rows, int64_t size);
void decode(int half, const void* queries, int64_t query_stride, const void* cache,
            const int64_t* tables, int64_t table_stride, const int64_t* lengths, int64_t block,
            int64_t rows, int64_t heads, int64_t kv_heads, int64_t size, float scale, void* out);
void product(const void* x, const void* weight, const void* bias, void* out, int64_t rows,
             int64_t inputs, int64_t outputs);

struct Product {
  const void *weight, *bias;
  int64_t inputs, outputs;

  void of(const void* x, void* out, int64_t rows) const {
    product(x, weight, bias, out, rows, inputs, outputs);
  }
};

struct Norm {
  const void* weight;
  double epsilon;
};

struct Layer {
  Norm first, second;
  Product mixed, out, both, down;
  int64_t heads, kv_heads, size;
  double scale;
};

struct Step {
  const void *cosines, *sines;
  const int64_t *writes, *tables, *lengths;
  int64_t table_stride, block, rows, hidden;
};

struct Space {
  uint16_t *hidden, *normed, *mixed, *seen, *added, *both, *whole;
};

// ``cache``: of the first layer; the next one's is ``cache_stride`` numbers behind it.
void layers(const Layer* each, int64_t count, const Step* step, const Space* space,
            uint16_t* cache, int64_t cache_stride) {
  const int64_t rows = step->rows;
  for (int64_t index = 0; index < count; ++index, cache += cache_stride) {
    const Layer& own = each[index];
    const int64_t stride = own.mixed.outputs, queries = own.heads * own.size;
    const int64_t place = 2 * own.kv_heads * own.size;
    add_norm(1, space->hidden, index ? space->added : nullptr, own.first.weight, space->normed,
             rows, step->hidden, own.first.epsilon);
    own.mixed.of(space->normed, space->mixed, rows);
    rotate(1, space->mixed, step->cosines, step->sines, rows, stride, own.heads + own.kv_heads,
           own.size);
    for (int64_t row = 0; row < rows; ++row)
      std::memcpy(cache + step->writes[row] * place, space->mixed + row * stride + queries,
                  place * sizeof *cache);
    decode(1, space->mixed, stride, cache, step->tables, step->table_stride, step->lengths,
           step->block, rows, own.heads, own.kv_heads, own.size, own.scale, space->seen);
    own.out.of(space->seen, space->added, rows);
    add_norm(1, space->hidden, space->added, own.second.weight, space->normed, rows, step->hidden,
             own.second.epsilon);
    own.both.of(space->normed, space->both, rows);
    swiglu(1, space->both, space->whole, rows, own.down.inputs);
    own.down.of(space->whole, space->added, rows);
  }
}
}
