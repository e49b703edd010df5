#include "kernels/cpu/ternary_by_input.h"

#include <algorithm>

#include "kernels/cpu/scratch.h"
#include "kernels/cpu/ternary_layout.h"

namespace ternion::cpu {
namespace {

// Tokens that pass over a strip in turn; their lists take a few megabytes.
constexpr int64_t kBlockTokens = 96;
// Tasks are strips, cut into ranges of the lists where strips are few: that many tasks level out the threads.
constexpr int64_t kTasksPerThread = 8;
// Below this many quads a range costs more to add up than it levels.
constexpr int64_t kMinRangeQuads = 64;
// Several tokens: the lines of a range stay in L2 from one token to the next.
constexpr int64_t kSharedBytes = 512 << 10;

// A block's activations as lists of the non-zero inputs, and their sums.
class InputLists {
 public:
  InputLists(TensorView<const int8_t> codes, const TernaryKernels& kernels, ThreadPool& pool)
      : stride_(codes.cols() + 16),
        offsets_(codes.rows() * stride_),
        values_(codes.rows() * stride_),
        quads_(codes.rows()),
        sums_(codes.rows()) {
    pool.ForEach(codes.rows(), [&](int64_t t) {
      uint32_t* offsets = offsets_.data() + t * stride_;
      int8_t* values = values_.data() + t * stride_;
      quads_[t] = kernels.list_inputs(codes.row(t), codes.cols(), offsets, values);
      sums_[t] = kernels.sum_codes(values, quads_[t] * kQuadInputs);
    });
    most_quads_ = *std::max_element(quads_.data(), quads_.data() + codes.rows());
  }

  const uint32_t* offsets(int64_t token) { return offsets_.data() + token * stride_; }  // [4 * quads]
  const int8_t* values(int64_t token) { return values_.data() + token * stride_; }      // [4 * quads]
  int64_t quads(int64_t token) { return quads_[token]; }
  int32_t sum(int64_t token) { return sums_[token]; }
  int64_t most_quads() const { return most_quads_; }

 private:
  int64_t stride_;
  Scratch<uint32_t> offsets_;  // [tokens, stride]
  Scratch<int8_t> values_;     // [tokens, stride]
  Scratch<int64_t> quads_;     // [tokens]
  Scratch<int32_t> sums_;      // [tokens]
  int64_t most_quads_;
};

int64_t Ranges(int64_t strips, int64_t quads, int64_t tokens, int threads) {
  const int64_t wanted = threads == 1 ? 1 : CeilDivide(kTasksPerThread * threads, strips);
  const int64_t worth = std::max<int64_t>(1, quads / kMinRangeQuads);
  const int64_t quad_bytes = kQuadInputs * kLineBytes;
  const int64_t most_quads = tokens == 1 ? kMaxListedQuads : kSharedBytes / quad_bytes;
  return std::max(std::min(wanted, worth), CeilDivide(quads, most_quads));
}

// One block of tokens. Range 0 writes `out`, the others write a part of their own, which is added at the end.
struct Block {
  const PackedTernary& w;
  TensorView<int32_t> out;  // [T, outputs]
  InputLists& lists;
  int64_t ranges;
  int32_t* parts;  // [ranges - 1, T, outputs]

  int32_t* Row(int64_t range, int64_t token) const {
    return (range == 0 ? out.data() : parts + (range - 1) * out.size()) + token * out.cols();
  }
};

void DotStrip(const Block& block, int64_t strip, int64_t range, const TernaryKernels& kernels) {
  InputLists& lists = block.lists;
  const int64_t first = strip * kLineCodes, outputs = std::min(kLineCodes, block.w.outputs - first);
  for (int64_t t = 0; t < block.out.rows(); ++t) {
    const int64_t begin = lists.quads(t) * range / block.ranges;
    const int64_t end = lists.quads(t) * (range + 1) / block.ranges;
    kernels.dot_listed_inputs({PackedStrip(block.w, strip), lists.offsets(t) + begin * kQuadInputs,
                               lists.values(t) + begin * kQuadInputs, end - begin, range == 0 ? lists.sum(t) : 0,
                               outputs, block.Row(range, t) + first});
  }
}

void AddParts(const Block& block, int64_t token) {
  int32_t* out = block.out.row(token);
  for (int64_t range = 1; range < block.ranges; ++range) {
    const int32_t* part = block.Row(range, token);
    for (int64_t o = 0; o < block.out.cols(); ++o) out[o] += part[o];
  }
}

void MatmulBlock(const PackedTernary& w, TensorView<const int8_t> codes, TensorView<int32_t> out,
                 const TernaryKernels& kernels, ThreadPool& pool) {
  InputLists lists(codes, kernels, pool);
  const int64_t strips = Strips(w.outputs);
  const int64_t ranges = Ranges(strips, lists.most_quads(), codes.rows(), pool.threads());
  Scratch<int32_t> parts((ranges - 1) * out.size());
  const Block block{w, out, lists, ranges, parts.data()};
  pool.ForEach(strips * ranges, [&](int64_t task) { DotStrip(block, task / ranges, task % ranges, kernels); });
  if (ranges > 1) pool.ForEach(codes.rows(), [&](int64_t t) { AddParts(block, t); });
}

}  // namespace

void TernaryMatmulByInput(const PackedTernary& w, TensorView<const int8_t> codes, TensorView<int32_t> out,
                          const TernaryKernels& kernels, ThreadPool& pool) {
  for (int64_t t = 0; t < codes.rows(); t += kBlockTokens) {
    const int64_t end = std::min(t + kBlockTokens, codes.rows());
    MatmulBlock(w, codes.Rows(t, end), out.Rows(t, end), kernels, pool);
  }
}

}  // namespace ternion::cpu
