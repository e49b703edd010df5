#include <bit>
#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "gtest/gtest.h"
#include "tests/kernels/ternary_cases.h"

namespace ternion::cpu {
namespace {

struct Shape {
  int64_t channels;
  int64_t inputs;
  int64_t tokens;
};

// The operands of a gated unit.
struct Operands {
  Operands(const Shape& shape, std::mt19937& random)
      : tokens(shape.tokens),
        gate(RandomTrits(shape.channels, shape.inputs, random)),
        up(RandomTrits(shape.channels, shape.inputs, random)),
        codes(RandomCodes(shape.tokens * shape.inputs, -128, 127, 0.8, random)),
        row_scale(Scales(shape.tokens, random)),
        gate_scale(Scales(shape.channels, random)),
        up_scale(Scales(shape.channels, random)) {}

  static std::vector<float> Scales(int64_t n, std::mt19937& random) {
    std::vector<float> scales(static_cast<size_t>(n));
    for (float& s : scales) s = std::uniform_real_distribution<float>(1e-3f, 2e-2f)(random);
    return scales;
  }

  int64_t tokens;
  Trits gate, up;             // [channels, inputs]
  std::vector<int8_t> codes;  // [tokens, inputs]
  std::vector<float> row_scale, gate_scale, up_scale;
};

enum class Unit { kRelu2, kSilu };

std::vector<float> RunUnit(Unit unit, CpuBackend& backend, Operands& x) {
  const PackedTernary gate = Pack(backend, TernaryLayout::kByOutput, x.gate);
  const PackedTernary up = Pack(backend, TernaryLayout::kByOutput, x.up);
  const int64_t n = x.gate.outputs;
  std::vector<float> y(static_cast<size_t>(x.tokens * n), NAN);
  const QuantizedRows rows{{x.codes.data(), x.tokens, x.gate.inputs}, {x.row_scale.data(), 1, x.tokens}};
  const TensorView<const float> gate_scale(x.gate_scale.data(), 1, n), up_scale(x.up_scale.data(), 1, n);
  if (unit == Unit::kRelu2) backend.GatedRelu2(gate, up, rows, gate_scale, up_scale, {y.data(), x.tokens, n});
  if (unit == Unit::kSilu) backend.GatedSilu(gate, up, rows, gate_scale, up_scale, {y.data(), x.tokens, n});
  return y;
}

// Calls check(g, u, i) for every element of y, g and u in float32 as the contract has them.
template <typename Check>
void ForEachElement(const Operands& x, const Check& check) {
  const std::vector<int32_t> gate = MultiplyPlainly(x.gate, x.codes, x.tokens);
  const std::vector<int32_t> up = MultiplyPlainly(x.up, x.codes, x.tokens);
  const size_t n = static_cast<size_t>(x.gate.outputs);
  for (size_t i = 0; i < gate.size(); ++i) {
    const float row_scale = x.row_scale[i / n];
    const float g = static_cast<float>(gate[i]) * (row_scale * x.gate_scale[i % n]);
    const float u = static_cast<float>(up[i]) * (row_scale * x.up_scale[i % n]);
    check(g, u, i);
  }
}

const Shape kShapes[] = {{1, 1, 1}, {3, 5, 2}, {257, 300, 1}, {300, 256, 7}, {64, 700, 49}, {700, 512, 3}};

class GatedUnitTest : public testing::TestWithParam<Isa> {
 protected:
  std::mt19937 random_{7};
};

TEST_P(GatedUnitTest, Relu2IsExact) {
  for (int threads : {1, 3}) {
    CpuBackend backend(threads, GetParam());
    for (const Shape& shape : kShapes) {
      Operands x(shape, random_);
      const std::vector<float> y = RunUnit(Unit::kRelu2, backend, x);
      ForEachElement(x, [&](float g, float u, size_t i) {
        const float expected = g > 0 ? (g * g) * u : 0.0f;
        ASSERT_EQ(std::bit_cast<uint32_t>(y[i]), std::bit_cast<uint32_t>(expected)) << "element " << i;
      });
    }
  }
}

// A closed gate leaves +0, whatever the sign of up.
TEST_P(GatedUnitTest, ClosedGatesGivePositiveZero) {
  CpuBackend backend(3, GetParam());
  Operands x({300, 300, 4}, random_);
  std::fill(x.gate.values.begin(), x.gate.values.end(), int8_t{-1});
  std::fill(x.codes.begin(), x.codes.end(), int8_t{1});
  for (float y : RunUnit(Unit::kRelu2, backend, x)) ASSERT_EQ(std::bit_cast<uint32_t>(y), 0u);
}

TEST_P(GatedUnitTest, OpenGatesReadEveryRow) {
  CpuBackend backend(3, GetParam());
  Operands x({300, 300, 4}, random_);
  std::fill(x.gate.values.begin(), x.gate.values.end(), int8_t{1});
  for (int8_t& code : x.codes) code = static_cast<int8_t>(code & 63);
  const std::vector<float> y = RunUnit(Unit::kRelu2, backend, x);
  ForEachElement(x, [&](float g, float u, size_t i) { ASSERT_EQ(y[i], (g * g) * u) << "element " << i; });
}

TEST_P(GatedUnitTest, SiluIsClose) {
  for (int threads : {1, 3}) {
    CpuBackend backend(threads, GetParam());
    for (const Shape& shape : kShapes) {
      Operands x(shape, random_);
      const std::vector<float> y = RunUnit(Unit::kSilu, backend, x);
      ForEachElement(x, [&](float g, float u, size_t i) {
        const double expected = g / (1 + std::exp(-static_cast<double>(g))) * u;
        ASSERT_NEAR(y[i], expected, 1e-6 * std::abs(expected) + 1e-30) << "element " << i << ", gate " << g;
      });
    }
  }
}

// Gates far beyond the range of exp.
TEST_P(GatedUnitTest, SiluOfHugeGates) {
  CpuBackend backend(1, GetParam());
  Operands x({40, 300, 2}, random_);
  std::fill(x.gate_scale.begin(), x.gate_scale.end(), 1e6f);
  const std::vector<float> y = RunUnit(Unit::kSilu, backend, x);
  ForEachElement(x,
                 [&](float g, float u, size_t i) { ASSERT_EQ(y[i], g > 0 ? g * u : 0.0f) << "gate " << g; });
}

// The exponential too: every instruction set gives the bits of the portable one.
TEST_P(GatedUnitTest, SameBitsAsPortable) {
  CpuBackend backend(3, GetParam()), portable(1, Isa::kPortable);
  for (const Shape& shape : kShapes) {
    Operands x(shape, random_);
    const std::vector<float> y = RunUnit(Unit::kSilu, backend, x),
                             expected = RunUnit(Unit::kSilu, portable, x);
    for (size_t i = 0; i < y.size(); ++i) {
      ASSERT_EQ(std::bit_cast<uint32_t>(y[i]), std::bit_cast<uint32_t>(expected[i])) << "element " << i;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Cpu, GatedUnitTest, testing::ValuesIn(RunnableIsas()),
                         [](const auto& test) { return std::string(IsaName(test.param)); });

}  // namespace
}  // namespace ternion::cpu
