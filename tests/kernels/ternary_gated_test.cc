#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "gtest/gtest.h"
#include "tests/kernels/ternary_cases.h"

namespace ternion {
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
        row_scale(RandomScales(shape.tokens, random)),
        gate_scale(RandomScales(shape.channels, random)),
        up_scale(RandomScales(shape.channels, random)) {}

  int64_t tokens;
  Trits gate, up;             // [channels, inputs]
  std::vector<int8_t> codes;  // [tokens, inputs]
  std::vector<float> row_scale, gate_scale, up_scale;
};

enum class Unit { kRelu2, kSilu };

std::vector<float> RunUnit(Unit unit, Backend& backend, const Operands& x) {
  const PackedTernary gate = Pack(backend, TernaryLayout::kByOutput, x.gate);
  const PackedTernary up = Pack(backend, TernaryLayout::kByOutput, x.up);
  const int64_t n = x.gate.outputs;
  const DeviceMatrix<int8_t> codes(backend, x.tokens, x.gate.inputs, x.codes);
  const DeviceMatrix<float> row_scale(backend, 1, x.tokens, x.row_scale),
      gate_scale(backend, 1, n, x.gate_scale), up_scale(backend, 1, n, x.up_scale);
  const DeviceMatrix<float> y(backend, x.tokens, n,
                              std::vector<float>(static_cast<size_t>(x.tokens * n), NAN));
  const QuantizedRows rows{codes, row_scale};
  if (unit == Unit::kRelu2) backend.GatedRelu2(gate, up, rows, gate_scale, up_scale, y);
  if (unit == Unit::kSilu) backend.GatedSilu(gate, up, rows, gate_scale, up_scale, y);
  return y.Read();
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

const Shape kShapes[] = {{1, 1, 1},      {3, 5, 2},       {257, 300, 1},  {300, 256, 7},
                         {64, 700, 49},  {700, 512, 3},   {257, 3456, 4}, {2100, 300, 2},
                         {40, 5000, 16}, {70, 300, 65},   {33, 256, 130}, {4300, 130, 520},
                         {9001, 520, 1}, {4300, 2560, 1}, {600, 8200, 1}, {21000, 300, 1}};

class GatedUnitTest : public BackendTest {
 protected:
  std::mt19937 random_{7};
};

TEST_P(GatedUnitTest, Relu2IsExact) {
  for (const Shape& shape : kShapes) {
    const Operands x(shape, random_);
    const std::vector<float> y = RunUnit(Unit::kRelu2, backend(), x);
    ForEachElement(x, [&](float g, float u, size_t i) {
      const float expected = g > 0 ? (g * g) * u : 0.0f;
      ASSERT_EQ(std::bit_cast<uint32_t>(y[i]), std::bit_cast<uint32_t>(expected)) << "element " << i;
    });
  }
}

// A closed gate leaves +0, whatever the sign of up.
TEST_P(GatedUnitTest, ClosedGatesGivePositiveZero) {
  for (int64_t tokens : {1, 4, 16, 70}) {
    Operands x({300, 300, tokens}, random_);
    std::fill(x.gate.values.begin(), x.gate.values.end(), int8_t{-1});
    std::fill(x.codes.begin(), x.codes.end(), int8_t{1});
    for (float y : RunUnit(Unit::kRelu2, backend(), x)) ASSERT_EQ(std::bit_cast<uint32_t>(y), 0u);
  }
}

TEST_P(GatedUnitTest, OpenGatesReadEveryRow) {
  for (int64_t tokens : {1, 4}) {
    Operands x({300, 300, tokens}, random_);
    std::fill(x.gate.values.begin(), x.gate.values.end(), int8_t{1});
    for (int8_t& code : x.codes) code = static_cast<int8_t>(code & 63);
    const std::vector<float> y = RunUnit(Unit::kRelu2, backend(), x);
    ForEachElement(x, [&](float g, float u, size_t i) { ASSERT_EQ(y[i], (g * g) * u) << "element " << i; });
  }
}

// One gate in 16, in 40 and in 4 is open, so that some tiles have one, some none.
TEST_P(GatedUnitTest, FewOpenGates) {
  for (int64_t every : {4, 16, 40}) {
    Operands x({8000, 700, 1}, random_);
    for (int8_t& code : x.codes) code = static_cast<int8_t>(1 + (code & 7));
    for (int64_t i = 0; i < x.gate.outputs * x.gate.inputs; ++i) {
      const bool open = i / x.gate.inputs % every == every / 2;
      x.gate.values[static_cast<size_t>(i)] = open ? int8_t{1} : int8_t{-1};
    }
    const std::vector<float> y = RunUnit(Unit::kRelu2, backend(), x);
    ForEachElement(x, [&](float g, float u, size_t i) {
      const float expected = g > 0 ? (g * g) * u : 0.0f;
      ASSERT_EQ(std::bit_cast<uint32_t>(y[i]), std::bit_cast<uint32_t>(expected)) << "element " << i;
    });
  }
}

// A gate in four is open.
TEST_P(GatedUnitTest, CountsWeightsOfUpThatAreNotRead) {
  for (int64_t tokens : {1, 70}) {
    const WeightSkips before = backend().weight_skips();
    Operands x({800, 700, tokens}, random_);
    std::fill(x.codes.begin(), x.codes.end(), int8_t{1});
    for (size_t i = 0; i < x.gate.values.size(); ++i) x.gate.values[i] = i / 700 % 4 == 0 ? 1 : -1;
    RunUnit(Unit::kRelu2, backend(), x);
    const WeightSkips after = backend().weight_skips();
    const bool counts = GetParam().family != "cuda";
    EXPECT_EQ(after.weights - before.weights, counts ? 800 * 700 * tokens : 0);
    EXPECT_EQ(after.skipped - before.skipped, counts ? 600 * 700 * tokens : 0);
    RunUnit(Unit::kSilu, backend(), x);
    EXPECT_EQ(backend().weight_skips(), after) << "it has nothing to skip";
  }
}

TEST_P(GatedUnitTest, SiluIsClose) {
  for (const Shape& shape : kShapes) {
    const Operands x(shape, random_);
    const std::vector<float> y = RunUnit(Unit::kSilu, backend(), x);
    ForEachElement(x, [&](float g, float u, size_t i) {
      const double expected = g / (1 + std::exp(-static_cast<double>(g))) * u;
      ASSERT_NEAR(y[i], expected, 1e-6 * std::abs(expected) + 1e-30) << "element " << i << ", gate " << g;
    });
  }
}

// Gates far beyond the range of exp.
TEST_P(GatedUnitTest, SiluOfHugeGates) {
  Operands x({40, 300, 2}, random_);
  std::fill(x.gate_scale.begin(), x.gate_scale.end(), 1e6f);
  const std::vector<float> y = RunUnit(Unit::kSilu, backend(), x);
  ForEachElement(x,
                 [&](float g, float u, size_t i) { ASSERT_EQ(y[i], g > 0 ? g * u : 0.0f) << "gate " << g; });
}

// The exponential too: every backend of a family gives the same bits.
TEST_P(GatedUnitTest, SameBitsInFamily) {
  for (const Shape& shape : kShapes) {
    const Operands x(shape, random_);
    EXPECT_TRUE(SameBits(RunUnit(Unit::kSilu, backend(), x), RunUnit(Unit::kSilu, reference(), x)));
  }
}

// Tokens do not see each other: any number of them gives the bits that each gives alone.
TEST_P(GatedUnitTest, BatchEqualsSingles) {
  const Operands x({100, 700, 70}, random_);
  for (Unit unit : {Unit::kRelu2, Unit::kSilu}) {
    const std::vector<float> batch = RunUnit(unit, backend(), x);
    for (int64_t tokens : {1, 3, 4, 11, 40}) {
      Operands first = x;
      first.tokens = tokens;
      first.codes.resize(static_cast<size_t>(tokens * x.gate.inputs));
      first.row_scale.resize(static_cast<size_t>(tokens));
      const std::vector<float> expected(batch.begin(), batch.begin() + tokens * x.gate.outputs);
      EXPECT_TRUE(SameBits(RunUnit(unit, backend(), first), expected)) << tokens << " tokens";
    }
  }
}

INSTANTIATE_BACKEND_TEST(GatedUnitTest);

}  // namespace
}  // namespace ternion
