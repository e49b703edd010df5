#include "kernels/cpu/ternary_by_input.h"

#include <algorithm>

#include "kernels/cpu/input_lists.h"
#include "kernels/cpu/scratch.h"
#include "kernels/cpu/ternary_layout.h"

namespace ternion::cpu {
namespace {

// Tokens of a task where the threads divide the tokens: their lists stay in L2 beside a strip.
constexpr int64_t kTaskTokens = 32;
// Tokens of a thread from which they do.
constexpr int64_t kOwnTokens = 8;
// Where the threads divide the strips: strips are cut into ranges of the lists, until that many tasks per
// thread level them out, and neighbouring strips are joined to runs, each of which fetches the head of its
// next lines.
constexpr int64_t kPiecesPerThread = 8;
constexpr int64_t kRunsPerThread = 2;
// Below this many quads a range costs more to add up than it levels.
constexpr int64_t kMinRangeQuads = 64;

int64_t Ranges(int64_t strips, int64_t quads, int threads) {
  const int64_t wanted = threads == 1 ? 1 : CeilDivide(kPiecesPerThread * threads, strips);
  const int64_t worth = std::max<int64_t>(1, quads / kMinRangeQuads);
  return std::max(std::min(wanted, worth), CeilDivide(quads, kMaxListedQuads));
}

// Range 0 writes `out`, the others a part of their own, which is added at the end.
struct Product {
  const PackedTernary& w;
  TensorView<int32_t> out;  // [T, outputs]
  const TernaryKernels& kernels;
  InputLists& lists;
  int64_t ranges;
  int32_t* parts;  // [ranges - 1, T, outputs]

  int32_t* Row(int64_t range, int64_t token) const {
    return (range == 0 ? out.data() : parts + (range - 1) * out.size()) + token * out.cols();
  }
};

// The sums of one range of every token's list for the outputs of one strip; `next` comes after it.
void DotStrip(const Product& product, int64_t strip, int64_t next, int64_t range) {
  const PackedTernary& w = product.w;
  InputLists& lists = product.lists;
  const int64_t first = strip * kLineCodes, outputs = std::min(kLineCodes, w.outputs - first);
  for (int64_t t = 0; t < lists.tokens(); ++t) {
    const int64_t begin = lists.quads(t) * range / product.ranges;
    const int64_t end = lists.quads(t) * (range + 1) / product.ranges;
    // The next token reads this strip again.
    const int64_t then = t + 1 < lists.tokens() ? strip : next;
    product.kernels.dot_listed_inputs(
        {PackedStrip(w, strip), PackedStrip(w, then), lists.offsets(t) + begin * kQuadInputs,
         lists.values(t) + begin * kQuadInputs, end - begin, lists.tokens() == 1 && lists.all(t),
         range == 0 ? lists.sum(t) : 0, outputs, product.Row(range, t) + first});
  }
}

// Strips [begin, end).
void DotStrips(const Product& product, int64_t begin, int64_t end, int64_t range) {
  for (int64_t strip = begin; strip < end; ++strip)
    DotStrip(product, strip, std::min(strip + 1, end - 1), range);
}

void AddParts(const Product& product) {
  for (int64_t range = 1; range < product.ranges; ++range) {
    const int32_t* part = product.Row(range, 0);
    int32_t* out = product.out.data();
    for (int64_t i = 0; i < product.out.size(); ++i) out[i] += part[i];
  }
}

void DivideStrips(const PackedTernary& w, TensorView<const int8_t> codes, TensorView<int32_t> out,
                  const TernaryKernels& kernels, ThreadPool& pool) {
  InputLists lists(codes, kernels);
  const int64_t strips = Strips(w.outputs), ranges = Ranges(strips, lists.most_quads(), pool.threads());
  Scratch<int32_t> parts((ranges - 1) * out.size());
  const Product product{w, out, kernels, lists, ranges, parts.data()};
  const int64_t run = std::max<int64_t>(1, strips * ranges / (kRunsPerThread * pool.threads()));
  pool.ForEach(CeilDivide(strips, run) * ranges, [&](int64_t task) {
    const int64_t begin = task / ranges * run;
    DotStrips(product, begin, std::min(begin + run, strips), task % ranges);
  });
  AddParts(product);
}

void DotTokens(const PackedTernary& w, TensorView<const int8_t> codes, TensorView<int32_t> out,
               const TernaryKernels& kernels) {
  InputLists lists(codes, kernels);
  const int64_t ranges = Ranges(Strips(w.outputs), lists.most_quads(), 1);
  Scratch<int32_t> parts((ranges - 1) * out.size());
  const Product product{w, out, kernels, lists, ranges, parts.data()};
  for (int64_t range = 0; range < ranges; ++range) DotStrips(product, 0, Strips(w.outputs), range);
  AddParts(product);
}

}  // namespace

void TernaryMatmulByInput(const PackedTernary& w, TensorView<const int8_t> codes, TensorView<int32_t> out,
                          const TernaryKernels& kernels, ThreadPool& pool) {
  const int64_t tokens = codes.rows();
  if (tokens < kOwnTokens * pool.threads()) return DivideStrips(w, codes, out, kernels, pool);
  const int64_t share = std::min(CeilDivide(tokens, pool.threads()), kTaskTokens);
  pool.ForEach(CeilDivide(tokens, share), [&](int64_t task) {
    const int64_t begin = task * share, end = std::min(begin + share, tokens);
    DotTokens(w, codes.Rows(begin, end), out.Rows(begin, end), kernels);
  });
}

}  // namespace ternion::cpu
