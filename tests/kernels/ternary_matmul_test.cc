#include <algorithm>
#include <cstdint>
#include <memory>
#include <ostream>
#include <random>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/kernels/ternary_cases.h"

namespace ternion {
namespace {

constexpr int32_t kUntouched = 0x5A5A5A5A;
constexpr int64_t kMargin = 64;

struct Case {
  BackendCase backend;
  TernaryLayout layout;
};

void PrintTo(const Case& test, std::ostream* out) { PrintTo(test.backend, out); }

std::vector<Case> Cases() {
  std::vector<Case> cases;
  for (const BackendCase& backend : Backends()) {
    for (TernaryLayout layout : {TernaryLayout::kByOutput, TernaryLayout::kByInput}) {
      cases.push_back({backend, layout});
    }
  }
  return cases;
}

class TernaryMatmulTest : public testing::TestWithParam<Case> {
 protected:
  PackedTernary Pack(const Trits& w) { return ternion::Pack(*backend_, GetParam().layout, w); }

  // The product by the backend; a margin after the result must stay untouched.
  std::vector<int32_t> Multiply(const PackedTernary& w, const std::vector<int8_t>& codes, int64_t tokens) {
    const int64_t size = tokens * w.outputs;
    const DeviceMatrix<int8_t> in(*backend_, tokens, w.inputs, codes);
    const DeviceMatrix<int32_t> memory(*backend_, 1, size + kMargin,
                                       std::vector<int32_t>(static_cast<size_t>(size + kMargin), kUntouched));
    backend_->TernaryMatmul(w, in, {memory.view().data(), tokens, w.outputs});
    std::vector<int32_t> out = memory.Read();
    for (size_t i = static_cast<size_t>(size); i < out.size(); ++i) EXPECT_EQ(out[i], kUntouched);
    out.resize(static_cast<size_t>(size));
    return out;
  }

  void ExpectExact(int64_t outputs, int64_t inputs, int64_t tokens, int low, int high, double density) {
    SCOPED_TRACE(testing::Message() << outputs << " x " << inputs << ", " << tokens << " tokens, codes "
                                    << low << " to " << high << ", density " << density);
    const Trits w = RandomTrits(outputs, inputs, random_);
    const std::vector<int8_t> codes = RandomCodes(tokens * inputs, low, high, density, random_);
    ASSERT_EQ(Multiply(Pack(w), codes, tokens), MultiplyPlainly(w, codes, tokens));
  }

  // A matrix whose trits are a function of their place: large ones, for the GPU's ways of cutting them.
  void ExpectExactOfPlaces(int64_t outputs, int64_t inputs, int64_t tokens,
                           absl::Span<const double> densities);

  // TernaryLinear against Dequantize of TernaryMatmul, bit by bit, stored and added.
  void ExpectLinear(int64_t outputs, int64_t inputs, int64_t tokens);

  std::unique_ptr<Backend> backend_ = GetParam().backend.make();
  std::mt19937 random_{20240229};
};

TEST_P(TernaryMatmulTest, EveryOddShape) {
  for (int64_t outputs : {1, 3, 255, 256, 257, 300}) {
    for (int64_t inputs : {1, 4, 5, 255, 256, 257, 700, 1536}) {
      for (int64_t tokens : {1, 5}) ExpectExact(outputs, inputs, tokens, -128, 127, 0.5);
    }
  }
}

TEST_P(TernaryMatmulTest, EveryNumberOfTokens) {
  for (int64_t tokens : {1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 17, 33, 64, 65, 130, 300}) {
    ExpectExact(70, 513, tokens, -8, 7, 0.88);
    ExpectExact(260, 130, tokens, -127, 127, 1.0);
  }
}

TEST_P(TernaryMatmulTest, EveryDensity) {
  for (double density : {0.0, 0.01, 0.17, 0.5, 1.0}) {
    for (int64_t tokens : {1, 3}) ExpectExact(1100, 2000, tokens, -128, 127, density);
  }
}

// Neighbouring tokens of a batch differ: none, few, most and all of their inputs are used.
TEST_P(TernaryMatmulTest, MixedDensities) {
  const Trits w = RandomTrits(600, 1300, random_);
  const PackedTernary packed = Pack(w);
  for (int64_t tokens : {7, 31}) {
    std::vector<int8_t> codes;
    for (int64_t t = 0; t < tokens; ++t) {
      const double densities[] = {0.0, 0.1, 0.7, 1.0, 0.8, 0.002};
      const std::vector<int8_t> row = RandomCodes(w.inputs, -128, 127, densities[t % 6], random_);
      codes.insert(codes.end(), row.begin(), row.end());
    }
    ASSERT_EQ(Multiply(packed, codes, tokens), MultiplyPlainly(w, codes, tokens)) << tokens << " tokens";
  }
}

// One token has no input, one a quarter of them, one all; many tokens are divided between tasks.
TEST_P(TernaryMatmulTest, CountsWeightsThatAreNotRead) {
  const int64_t outputs = 600, inputs = 2000;
  const PackedTernary packed = Pack(RandomTrits(outputs, inputs, random_));
  WeightSkips expected;
  for (int64_t tokens : {3, 90}) {
    std::vector<int8_t> codes(static_cast<size_t>(tokens * inputs));
    for (int64_t i = 0; i < tokens * inputs; ++i) {
      const int64_t token = i / inputs, every = token % 3 == 1 ? 4 : 1;
      codes[static_cast<size_t>(i)] = static_cast<int8_t>(token % 3 != 0 && i % every == 0);
    }
    Multiply(packed, codes, tokens);
    expected.weights += outputs * inputs * tokens;
    expected.skipped += outputs * (inputs + inputs * 3 / 4) * (tokens / 3);
    const bool counts = GetParam().layout == TernaryLayout::kByInput && GetParam().backend.family != "cuda";
    EXPECT_EQ(backend_->weight_skips(), counts ? expected : WeightSkips()) << tokens << " tokens";
  }
}

// All weights and activations at their ends, over enough inputs to overflow 16-bit sums many times.
TEST_P(TernaryMatmulTest, ExtremeSums) {
  for (int8_t code : {int8_t{-128}, int8_t{127}}) {
    for (int8_t trit : {int8_t{-1}, int8_t{1}}) {
      const Trits w{257, 9001, std::vector<int8_t>(257 * 9001, trit)};
      const PackedTernary packed = Pack(w);
      for (int64_t tokens : {1, 7}) {
        const std::vector<int8_t> codes(static_cast<size_t>(tokens * w.inputs), code);
        const std::vector<int32_t> out = Multiply(packed, codes, tokens);
        EXPECT_THAT(out, testing::Each(9001 * code * trit)) << "code " << int{code} << ", trit " << int{trit};
      }
    }
  }
}

// More inputs than one list may sum at a time.
TEST_P(TernaryMatmulTest, VeryManyInputs) {
  const int64_t inputs = 70001;
  const Trits w{5, inputs, std::vector<int8_t>(static_cast<size_t>(5 * inputs), 1)};
  const std::vector<int8_t> codes(static_cast<size_t>(inputs), -128);
  EXPECT_THAT(Multiply(Pack(w), codes, 1), testing::Each(-128 * 70001));
}

// Shapes of real layers, where the work is cut in many ways. A random combination of the outputs is the same combination
// of the weights' rows, applied to the codes: that checks every sum without a product as slow as the one checked.
TEST_P(TernaryMatmulTest, LargeShapes) {
  struct Shape {
    int64_t outputs, inputs;
    std::vector<int64_t> tokens;
  };
  const Shape shapes[] = {{2560, 2560, {1, 2, 3, 4, 5, 16, 33, 64}},
                          {8192, 1000, {1, 4, 9}},
                          {5003, 768, {1, 2, 3, 4}},
                          {300, 28672, {1, 2, 4, 7, 16}},
                          {515, 16400, {5, 16, 20}},
                          {40, 66000, {6}},
                          {257, 3456, {1, 2, 3, 4, 12, 24, 64, 65, 130, 300}},
                          {4300, 130, {1000}}};
  for (const Shape& shape : shapes) {
    const Trits w = RandomTrits(shape.outputs, shape.inputs, random_);
    const PackedTernary packed = Pack(w);
    std::vector<int64_t> factors(static_cast<size_t>(shape.outputs));
    for (int64_t& factor : factors) factor = static_cast<int64_t>(random_() % 2001) - 1000;
    std::vector<int64_t> combined(static_cast<size_t>(shape.inputs));
    for (int64_t o = 0; o < shape.outputs; ++o) {
      for (int64_t i = 0; i < shape.inputs; ++i) combined[i] += factors[o] * w.at(o, i);
    }
    for (int64_t tokens : shape.tokens) {
      const std::vector<int8_t> codes = RandomCodes(tokens * shape.inputs, -128, 127, 0.9, random_);
      const std::vector<int32_t> out = Multiply(packed, codes, tokens);
      for (int64_t t = 0; t < tokens; ++t) {
        int64_t got = 0, want = 0;
        for (int64_t o = 0; o < shape.outputs; ++o) got += factors[o] * out[t * shape.outputs + o];
        for (int64_t i = 0; i < shape.inputs; ++i) want += combined[i] * codes[t * shape.inputs + i];
        ASSERT_EQ(got, want) << shape.outputs << " x " << shape.inputs << ", token " << t << " of " << tokens;
      }
    }
  }
}

void TernaryMatmulTest::ExpectExactOfPlaces(int64_t outputs, int64_t inputs, int64_t tokens,
                                            absl::Span<const double> densities) {
  const auto code = [](int64_t o, int64_t i) {
    const uint32_t mixed = static_cast<uint32_t>(o * 40503 + i) * 2654435761u;
    return static_cast<uint8_t>((mixed >> 16) % 3);
  };
  auto packed = backend_->PackTernary(GetParam().layout, outputs, inputs,
                                      [&code, inputs](int64_t o, absl::Span<uint8_t> codes) {
                                        for (int64_t i = 0; i < inputs; ++i) codes[i] = code(o, i);
                                      });
  ASSERT_TRUE(packed.ok()) << packed.status();
  for (double density : densities) {
    std::vector<int8_t> codes = RandomCodes(tokens * inputs, -128, 127, density, random_);
    std::fill(codes.begin() + inputs / 8, codes.begin() + inputs / 6, density < 1 ? int8_t{0} : int8_t{-128});
    std::vector<int32_t> want(static_cast<size_t>(tokens * outputs));
    for (int64_t t = 0; t < tokens; ++t) {
      for (int64_t i = 0; i < inputs; ++i) {
        const int factor = codes[t * inputs + i];
        if (factor == 0) continue;
        for (int64_t o = 0; o < outputs; ++o) want[t * outputs + o] += factor * (code(o, i) - 1);
      }
    }
    ASSERT_EQ(Multiply(*packed, codes, tokens), want)
        << outputs << " x " << inputs << ", " << tokens << " tokens, density " << density;
  }
}

// A matrix so large that a GPU skips zero inputs too (ByInputCopyOf), in groups of outputs that are not full.
TEST_P(TernaryMatmulTest, VeryLargeSparseInputs) {
  if (GetParam().layout == TernaryLayout::kByOutput || GetParam().backend.family != "cuda") {
    GTEST_SKIP() << "smaller matrices skip as well here, or none";
  }
  const int64_t shapes[][2] = {{4099, 25604}, {3300, 64004}};
  for (const auto& [outputs, inputs] : shapes) {
    ASSERT_GT(ByInputCopyOf(TernaryLayout::kByInput, outputs, inputs).columns, 0);
    ExpectExactOfPlaces(outputs, inputs, 1, {0.0, 0.001, 0.17, 1.0});
  }
}

// Matrices of which a GPU's block holds all its weights, in registers too (but with two tokens), or half the weights of a
// multiprocessor that has two blocks; parts of a tile are uneven.
TEST_P(TernaryMatmulTest, HeldWhole) {
  if (GetParam().layout == TernaryLayout::kByInput || GetParam().backend.family != "cuda") {
    GTEST_SKIP() << "for the GPU";
  }
  const int64_t shapes[][2] = {{2153, 15360}, {6367, 8448}, {8000, 8192}, {4000, 14336}};
  for (const auto& [outputs, inputs] : shapes) {
    for (int64_t tokens : {1, 2}) ExpectExactOfPlaces(outputs, inputs, tokens, {0.9, 1.0});
  }
}

TEST_P(TernaryMatmulTest, NoTokens) {
  const Trits w = RandomTrits(8, 300, random_);
  EXPECT_TRUE(Multiply(Pack(w), {}, 0).empty());
}

void TernaryMatmulTest::ExpectLinear(int64_t outputs, int64_t inputs, int64_t tokens) {
  SCOPED_TRACE(testing::Message() << outputs << " x " << inputs << ", " << tokens << " tokens");
  const PackedTernary w = Pack(RandomTrits(outputs, inputs, random_));
  const DeviceMatrix<int8_t> codes(*backend_, tokens, inputs,
                                   RandomCodes(tokens * inputs, -128, 127, 0.9, random_));
  const DeviceMatrix<float> row_scale(*backend_, 1, tokens, RandomScales(tokens, random_));
  const DeviceMatrix<float> weight_scale(*backend_, 1, outputs, RandomScales(outputs, random_));
  const std::vector<float> before = RandomScales(tokens * outputs, random_);
  const DeviceMatrix<int32_t> sums(*backend_, tokens, outputs);
  const DeviceMatrix<float> want(*backend_, tokens, outputs), stored(*backend_, tokens, outputs, before),
      added(*backend_, tokens, outputs, before), want_added(*backend_, tokens, outputs, before);
  backend_->TernaryMatmul(w, codes, sums);
  backend_->Dequantize(sums, row_scale, weight_scale, want);
  backend_->Add(want, want_added);
  backend_->TernaryLinear(w, {codes, row_scale}, weight_scale, /*add=*/false, stored);
  backend_->TernaryLinear(w, {codes, row_scale}, weight_scale, /*add=*/true, added);
  EXPECT_TRUE(SameBits(stored.Read(), want.Read()));
  EXPECT_TRUE(SameBits(added.Read(), want_added.Read()));
}

TEST_P(TernaryMatmulTest, LinearIsDequantizedMatmul) {
  for (int64_t tokens : {1, 2, 3, 4, 5, 16, 33, 64, 65, 130}) {
    ExpectLinear(257, 300, tokens);
    ExpectLinear(40, 5000, tokens);
  }
  for (int64_t tokens : {1, 4, 16}) ExpectLinear(8192, 256, tokens);
}

// Tokens do not see each other: a batch gives what each gives alone.
TEST_P(TernaryMatmulTest, BatchEqualsSingles) {
  const Trits w = RandomTrits(515, 1030, random_);
  const PackedTernary packed = Pack(w);
  const std::vector<int8_t> codes = RandomCodes(20 * w.inputs, -128, 127, 0.4, random_);
  const std::vector<int32_t> batch = Multiply(packed, codes, 20);
  for (int64_t t = 0; t < 20; ++t) {
    const std::vector<int8_t> row(codes.begin() + t * w.inputs, codes.begin() + (t + 1) * w.inputs);
    const std::vector<int32_t> expected(batch.begin() + t * w.outputs, batch.begin() + (t + 1) * w.outputs);
    ASSERT_EQ(Multiply(packed, row, 1), expected) << "token " << t;
  }
}

TEST_P(TernaryMatmulTest, ReaderIsCalledInOrder) {
  int64_t expected = 0;
  auto packed =
      backend_->PackTernary(GetParam().layout, 300, 17, [&](int64_t output, absl::Span<uint8_t> codes) {
        EXPECT_EQ(output, expected++);
        EXPECT_EQ(codes.size(), 17u);
        for (uint8_t& code : codes) code = 2;
      });
  ASSERT_TRUE(packed.ok()) << packed.status();
  EXPECT_EQ(expected, 300);
}

TEST_P(TernaryMatmulTest, RefusesCodeThree) {
  auto packed =
      backend_->PackTernary(GetParam().layout, 9, 300, [](int64_t output, absl::Span<uint8_t> codes) {
        for (uint8_t& code : codes) code = 1;
        if (output == 7) codes[299] = 3;
      });
  EXPECT_EQ(packed.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(packed.status().message()), testing::HasSubstr("output 7"));
}

INSTANTIATE_TEST_SUITE_P(, TernaryMatmulTest, testing::ValuesIn(Cases()), [](const auto& test) {
  return test.param.backend.name + (test.param.layout == TernaryLayout::kByOutput ? "_ByOutput" : "_ByInput");
});

}  // namespace
}  // namespace ternion
