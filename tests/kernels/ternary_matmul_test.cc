#include <cstdint>
#include <random>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/kernels/ternary_cases.h"

namespace ternion::cpu {
namespace {

constexpr int32_t kUntouched = 0x5A5A5A5A;

struct Case {
  Isa isa;
  TernaryLayout layout;
  int threads;
};

std::vector<Case> Cases() {
  std::vector<Case> cases;
  for (Isa isa : RunnableIsas()) {
    for (TernaryLayout layout : {TernaryLayout::kByOutput, TernaryLayout::kByInput}) {
      for (int threads : {1, 3}) cases.push_back({isa, layout, threads});
    }
  }
  return cases;
}

class TernaryMatmulTest : public testing::TestWithParam<Case> {
 protected:
  // The product by the backend; a margin after the result must stay untouched.
  std::vector<int32_t> Multiply(const PackedTernary& w, const std::vector<int8_t>& codes, int64_t tokens) {
    const int64_t size = tokens * w.outputs;
    std::vector<int32_t> out(static_cast<size_t>(size + 64), kUntouched);
    backend_.TernaryMatmul(w, {codes.data(), tokens, w.inputs}, {out.data(), tokens, w.outputs});
    for (size_t i = static_cast<size_t>(size); i < out.size(); ++i) EXPECT_EQ(out[i], kUntouched);
    out.resize(static_cast<size_t>(size));
    return out;
  }

  void ExpectExact(int64_t outputs, int64_t inputs, int64_t tokens, int low, int high, double density) {
    SCOPED_TRACE(testing::Message() << outputs << " x " << inputs << ", " << tokens << " tokens, codes "
                                    << low << " to " << high << ", density " << density);
    const Trits w = RandomTrits(outputs, inputs, random_);
    const std::vector<int8_t> codes = RandomCodes(tokens * inputs, low, high, density, random_);
    const PackedTernary packed = Pack(backend_, GetParam().layout, w);
    ASSERT_EQ(Multiply(packed, codes, tokens), MultiplyPlainly(w, codes, tokens));
  }

  CpuBackend backend_{GetParam().threads, GetParam().isa};
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
  for (int64_t tokens : {1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 17, 33, 130}) {
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
  const PackedTernary packed = Pack(backend_, GetParam().layout, w);
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

// All weights and activations at their ends, over enough inputs to overflow 16-bit sums many times.
TEST_P(TernaryMatmulTest, ExtremeSums) {
  for (int8_t code : {int8_t{-128}, int8_t{127}}) {
    for (int8_t trit : {int8_t{-1}, int8_t{1}}) {
      const Trits w{257, 9001, std::vector<int8_t>(257 * 9001, trit)};
      const PackedTernary packed = Pack(backend_, GetParam().layout, w);
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
  EXPECT_THAT(Multiply(Pack(backend_, GetParam().layout, w), codes, 1), testing::Each(-128 * 70001));
}

TEST_P(TernaryMatmulTest, NoTokens) {
  const Trits w = RandomTrits(8, 300, random_);
  EXPECT_TRUE(Multiply(Pack(backend_, GetParam().layout, w), {}, 0).empty());
}

// Tokens do not see each other: a batch gives what each gives alone.
TEST_P(TernaryMatmulTest, BatchEqualsSingles) {
  const Trits w = RandomTrits(515, 1030, random_);
  const PackedTernary packed = Pack(backend_, GetParam().layout, w);
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
      backend_.PackTernary(GetParam().layout, 300, 17, [&](int64_t output, absl::Span<uint8_t> codes) {
        EXPECT_EQ(output, expected++);
        EXPECT_EQ(codes.size(), 17u);
        for (uint8_t& code : codes) code = 2;
      });
  ASSERT_TRUE(packed.ok()) << packed.status();
  EXPECT_EQ(expected, 300);
}

TEST_P(TernaryMatmulTest, RefusesCodeThree) {
  auto packed =
      backend_.PackTernary(GetParam().layout, 9, 300, [](int64_t output, absl::Span<uint8_t> codes) {
        for (uint8_t& code : codes) code = 1;
        if (output == 7) codes[299] = 3;
      });
  EXPECT_EQ(packed.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(packed.status().message()), testing::HasSubstr("output 7"));
}

INSTANTIATE_TEST_SUITE_P(Cpu, TernaryMatmulTest, testing::ValuesIn(Cases()), [](const auto& test) {
  return std::string(IsaName(test.param.isa)) +
         (test.param.layout == TernaryLayout::kByOutput ? "ByOutput" : "ByInput") +
         std::to_string(test.param.threads);
});

}  // namespace
}  // namespace ternion::cpu
