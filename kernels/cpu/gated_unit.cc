// Both gated units run gate and up in one pass over the channels: a task takes a chunk of rows of both
// matrices, so the sums never leave its cache.
#include <algorithm>

#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/scratch.h"
#include "kernels/cpu/ternary_codes.h"
#include "kernels/cpu/ternary_layout.h"

namespace ternion::cpu {
namespace {

// Tokens whose sums a task holds at a time: a multiple of the kernel's tile.
constexpr int64_t kBlockTokens = 48;

struct GatedUnit {
  const PackedTernary& gate;
  const PackedTernary& up;
  PaddedCodes codes;
  TensorView<const float> row_scales;
  TensorView<const float> gate_scale;
  TensorView<const float> up_scale;
  TensorView<float> y;
  const TernaryKernels& kernels;

  int64_t groups() const { return RowGroups(gate.inputs); }
};

// A task's share: channels [begin, begin + n), a block of tokens at a time.
struct Chunk {
  int64_t begin;
  int64_t n;
  int64_t token;
  int64_t tokens;
};

// sums [tokens, n] of the block's tokens with the chunk's rows of w.
void DotChunk(GatedUnit& unit, const PackedTernary& w, const Chunk& chunk, int32_t* sums) {
  unit.kernels.dot_rows({PackedRow(w, chunk.begin), chunk.n, unit.groups(), unit.codes.row(chunk.token),
                         unit.codes.sums() + chunk.token, chunk.tokens, sums, chunk.n});
}

void CheckShapes(const PackedTernary& gate, const PackedTernary& up, const QuantizedRows& x,
                 TensorView<const float> gate_scale, TensorView<const float> up_scale, TensorView<float> y) {
  CHECK(gate.layout == TernaryLayout::kByOutput && up.layout == TernaryLayout::kByOutput,
        "gate and up are packed by output");
  CHECK(gate.outputs == up.outputs && gate.inputs == up.inputs, "gate and up have the same shape");
  CHECK(x.codes.cols() == gate.inputs && x.scales.size() == x.codes.rows(),
        "codes [T, inputs], scales [1, T]");
  CHECK(gate_scale.size() == gate.outputs && up_scale.size() == gate.outputs, "a scale for every channel");
  CHECK(y.rows() == x.codes.rows() && y.cols() == gate.outputs, "y is [T, channels]");
}

// Calls body(chunk) for every chunk of channels and block of tokens.
template <typename Body>
void ForEachChunk(const GatedUnit& unit, ThreadPool& pool, const Body& body) {
  const int64_t channels = unit.gate.outputs, tokens = unit.codes.tokens();
  const RowSplit split = SplitRows(channels, unit.groups(), tokens, pool.threads());
  pool.ForEach(CeilDivide(channels, split.task_rows), [&](int64_t task) {
    const int64_t end = std::min((task + 1) * split.task_rows, channels);
    for (int64_t row = task * split.task_rows; row < end; row += split.pass_rows) {
      for (int64_t token = 0; token < tokens; token += kBlockTokens) {
        body(Chunk{row, std::min(split.pass_rows, end - row), token, std::min(kBlockTokens, tokens - token)});
      }
    }
  });
}

// Lists the rows of w's chunk whose gate is positive, with the factor relu(g)^2 of each.
int64_t ListOpen(const int32_t* gate, const float* gate_scale, float row_scale, int64_t n, int32_t* list,
                 float* factors) {
  int64_t listed = 0;
  for (int64_t i = 0; i < n; ++i) {
    const float g = static_cast<float>(gate[i]) * (row_scale * gate_scale[i]);
    list[listed] = static_cast<int32_t>(i);
    factors[listed] = g * g;
    listed += g > 0;
  }
  return listed;
}

// The open channels of one token, reused for the next.
struct OpenChannels {
  explicit OpenChannels(int64_t n) : list(n), up_sums(n), factors(n) {}

  Scratch<int32_t> list;
  Scratch<int32_t> up_sums;
  Scratch<float> factors;
};

// One token of a chunk: reads the rows of up whose gate is open, leaves +0 elsewhere. Returns how many were open.
int64_t Relu2Token(GatedUnit& unit, const Chunk& chunk, int64_t token, const int32_t* gate_sums,
                   OpenChannels& open) {
  int32_t* list = open.list.data();
  const float row_scale = unit.row_scales.data()[token];
  const int64_t listed = ListOpen(gate_sums, unit.gate_scale.data() + chunk.begin, row_scale, chunk.n, list,
                                  open.factors.data());
  unit.kernels.dot_listed_rows({PackedRow(unit.up, chunk.begin), list, listed, unit.groups(),
                                ScatterStep(unit.groups()), unit.codes.row(token), unit.codes.sums()[token],
                                open.up_sums.data()});
  float* y = unit.y.row(token) + chunk.begin;
  std::fill_n(y, chunk.n, 0.0f);
  for (int64_t i = 0; i < listed; ++i) {
    const float scale = row_scale * unit.up_scale.data()[chunk.begin + list[i]];
    y[list[i]] = open.factors[i] * (static_cast<float>(open.up_sums[i]) * scale);
  }
  return listed;
}

}  // namespace

void CpuBackend::GatedRelu2(const PackedTernary& gate, const PackedTernary& up, QuantizedRows x,
                            TensorView<const float> gate_scale, TensorView<const float> up_scale,
                            TensorView<float> y) {
  CheckShapes(gate, up, x, gate_scale, up_scale, y);
  const TernaryKernels& kernels = SelectTernaryKernels(isa_);
  GatedUnit unit{
      gate, up, PaddedCodes(x.codes, kLineCodes, kernels, pool_), x.scales, gate_scale, up_scale, y, kernels};
  ForEachChunk(unit, pool_, [&](const Chunk& chunk) {
    Scratch<int32_t> sums(chunk.tokens * chunk.n);
    OpenChannels open(chunk.n);
    DotChunk(unit, gate, chunk, sums.data());
    int64_t read = 0;
    for (int64_t t = 0; t < chunk.tokens; ++t) {
      read += Relu2Token(unit, chunk, chunk.token + t, sums.data() + t * chunk.n, open);
    }
    const int64_t rows = chunk.tokens * chunk.n;
    weight_skips_.Add({rows * up.inputs, (rows - read) * up.inputs});
  });
}

void CpuBackend::GatedSilu(const PackedTernary& gate, const PackedTernary& up, QuantizedRows x,
                           TensorView<const float> gate_scale, TensorView<const float> up_scale,
                           TensorView<float> y) {
  CheckShapes(gate, up, x, gate_scale, up_scale, y);
  const TernaryKernels& kernels = SelectTernaryKernels(isa_);
  GatedUnit unit{
      gate, up, PaddedCodes(x.codes, kLineCodes, kernels, pool_), x.scales, gate_scale, up_scale, y, kernels};
  ForEachChunk(unit, pool_, [&](const Chunk& chunk) {
    Scratch<int32_t> gates(chunk.tokens * chunk.n), ups(chunk.tokens * chunk.n);
    DotChunk(unit, gate, chunk, gates.data());
    DotChunk(unit, up, chunk, ups.data());
    for (int64_t t = 0; t < chunk.tokens; ++t) {
      kernels.silu_gate({gates.data() + t * chunk.n, ups.data() + t * chunk.n,
                         x.scales.data()[chunk.token + t], gate_scale.data() + chunk.begin,
                         up_scale.data() + chunk.begin, chunk.n, y.row(chunk.token + t) + chunk.begin});
    }
  });
}

}  // namespace ternion::cpu
