#include "kernels/cpu/ternary_by_input.h"

#include <algorithm>

#include "kernels/cpu/input_lists.h"
#include "kernels/cpu/scratch.h"
#include "kernels/cpu/ternary_layout.h"

namespace ternion::cpu {
namespace {

// From this many tokens of a thread on, the tasks divide the tokens.
constexpr int64_t kOwnTokens = 8;
// Tokens of a task: their lists stay in L2 beside a strip.
constexpr int64_t kTaskTokens = 32;
// Where they divide strips and inputs: inputs are cut into ranges until there are this many pieces for a thread,
// and the pieces of neighbouring strips are joined to runs, each of which fetches ahead from strip to strip.
constexpr int64_t kPiecesPerThread = 8;
constexpr int64_t kRunsPerThread = 2;
// A range of fewer inputs costs more to add up than it levels; one of more may leave 32 bits within a kernel.
constexpr int64_t kLeastInputs = 512;
constexpr int64_t kMostInputs = kMaxListedQuads * kQuadInputs;

struct Range {
  int64_t begin;
  int64_t end;
};

// Part `index` of `parts` of [0, n), beginning at a multiple of `unit`.
Range PartOf(int64_t n, int64_t parts, int64_t index, int64_t unit) {
  const int64_t units = CeilDivide(n, unit);
  return {units * index / parts * unit, std::min(units * (index + 1) / parts * unit, n)};
}

// How the tasks divide a product.
struct Division {
  int64_t token_parts;
  int64_t input_parts;
  int64_t strip_parts;

  int64_t tasks() const { return token_parts * input_parts * strip_parts; }
};

Division Divide(int64_t tokens, int64_t inputs, int64_t strips, int threads) {
  const int64_t least = CeilDivide(inputs, kMostInputs);
  if (threads == 1 || tokens >= kOwnTokens * threads) {
    return {CeilDivide(tokens, std::min(CeilDivide(tokens, threads), kTaskTokens)), least, 1};
  }
  const int64_t levelled = CeilDivide(kPiecesPerThread * threads, strips);
  const int64_t parts = std::max(least, std::min(levelled, std::max<int64_t>(1, inputs / kLeastInputs)));
  return {1, parts, std::min(strips, CeilDivide(kRunsPerThread * threads, parts))};
}

// The part of range 0 of the inputs goes to `out`, the others to `parts`, which are added at the end.
struct Product {
  const PackedTernary& w;
  TensorView<const int8_t> codes;  // [T, inputs]
  TensorView<int32_t> out;         // [T, outputs]
  int32_t* parts;                  // [input_parts - 1, T, outputs]
  Division division;
  const TernaryKernels& kernels;
  WeightSkipCounter& skips;

  int32_t* Rows(int64_t part) const { return part == 0 ? out.data() : parts + (part - 1) * out.size(); }
};

// One strip; strip `next` comes after it.                       rows [lists.tokens(), outputs]
void DotStrip(const Product& product, InputLists& lists, int64_t strip, int64_t next, int32_t* rows) {
  const int64_t outputs = product.w.outputs, first = strip * kLineCodes;
  const uint8_t* here = PackedStrip(product.w, strip);
  const uint8_t* there = PackedStrip(product.w, next);
  for (int64_t t = 0; t < lists.tokens(); ++t) {
    const bool last = t + 1 == lists.tokens();
    const LineList list = lists.list(t, here);
    LineList then = last ? lists.list(0, there) : lists.list(t + 1, here);
    // A list cannot fetch ahead for a stream, nor a stream for a list.
    if ((then.offsets == nullptr) != (list.offsets == nullptr)) then.quads = 0;
    product.kernels.dot_listed_inputs(
        {list, then, lists.sum(t), std::min(kLineCodes, outputs - first), rows + t * outputs + first});
  }
}

void CountSkips(const Product& product, const InputLists& lists) {
  const int64_t outputs = product.w.outputs;
  product.skips.Add({lists.tokens() * product.w.inputs * outputs, lists.unread_inputs() * outputs});
}

void RunTask(const Product& product, int64_t task) {
  const Division& division = product.division;
  const int64_t input_part = task % division.input_parts;
  const int64_t strip_part = task / division.input_parts % division.strip_parts;
  const int64_t token_part = task / division.input_parts / division.strip_parts;
  const Range tokens = PartOf(product.codes.rows(), division.token_parts, token_part, 1);
  const Range inputs = PartOf(product.w.inputs, division.input_parts, input_part, kQuadInputs);
  const Range strips = PartOf(Strips(product.w.outputs), division.strip_parts, strip_part, 1);
  InputLists lists(product.codes.Rows(tokens.begin, tokens.end), inputs.begin, inputs.end, product.kernels);
  // Once for the tokens, whose lists other tasks make too.
  if (input_part == 0 && strip_part == 0) CountSkips(product, lists);
  int32_t* rows = product.Rows(input_part) + tokens.begin * product.w.outputs;
  for (int64_t strip = strips.begin; strip < strips.end; ++strip) {
    DotStrip(product, lists, strip, std::min(strip + 1, strips.end - 1), rows);
  }
}

void AddParts(const Product& product) {
  int32_t* out = product.out.data();
  for (int64_t part = 1; part < product.division.input_parts; ++part) {
    const int32_t* rows = product.Rows(part);
    for (int64_t i = 0; i < product.out.size(); ++i) out[i] += rows[i];
  }
}

}  // namespace

void TernaryMatmulByInput(const PackedTernary& w, TensorView<const int8_t> codes, TensorView<int32_t> out,
                          const TernaryKernels& kernels, ThreadPool& pool, WeightSkipCounter& skips) {
  const Division division = Divide(codes.rows(), w.inputs, Strips(w.outputs), pool.threads());
  Scratch<int32_t> parts((division.input_parts - 1) * out.size());
  const Product product{w, codes, out, parts.data(), division, kernels, skips};
  pool.ForEach(division.tasks(), [&](int64_t task) { RunTask(product, task); });
  AddParts(product);
}

}  // namespace ternion::cpu
