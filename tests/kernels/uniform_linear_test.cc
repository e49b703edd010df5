#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "tests/kernels/uniform_cases.h"

namespace ternion {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kUntouched = 12345.0f;
constexpr int64_t kMargin = 64;

class UniformLinearTest : public BackendTest {
 protected:
  // The product by the backend; a margin after the result must stay untouched.
  static std::vector<float> Multiply(Backend& on, const PackedUniform& w, const std::vector<float>& x) {
    const int64_t tokens = static_cast<int64_t>(x.size()) / w.inputs, size = tokens * w.outputs;
    const DeviceMatrix<float> memory(on, 1, size + kMargin, std::vector<float>(size + kMargin, kUntouched));
    on.UniformLinear(w, DeviceMatrix<float>(on, tokens, w.inputs, x), {}, false,
                     {memory.view().data(), tokens, w.outputs});
    std::vector<float> y = memory.Read();
    EXPECT_THAT(std::vector<float>(y.begin() + size, y.end()), testing::Each(kUntouched));
    y.resize(size);
    return y;
  }
  static PackedUniform Packed(Backend& on, const UniformMatrix& w) {
    absl::StatusOr<PackedUniform> packed = Pack(on, w);
    CHECK(packed.ok(), "a test's matrix is packed");
    return *std::move(packed);
  }

  // Every row has the bits that are written down.
  void ExpectAsWritten(const UniformMatrix& w, const std::vector<float>& x) {
    SCOPED_TRACE(testing::Message() << w.format.bits << " bits, groups of " << w.format.group << ", "
                                    << w.outputs << " x " << w.inputs << ", " << x.size() / w.inputs
                                    << " tokens");
    const std::vector<float> y = Multiply(backend(), Packed(backend(), w), x);
    for (size_t t = 0; t < x.size() / w.inputs; ++t) {
      const std::vector<float> row(y.begin() + t * w.outputs, y.begin() + (t + 1) * w.outputs);
      ASSERT_TRUE(SameBits(row, MultiplyAsWritten(w, &x[t * w.inputs]))) << "token " << t;
    }
  }
};
INSTANTIATE_BACKEND_TEST(UniformLinearTest);

TEST_P(UniformLinearTest, EveryFormat) {
  for (int bits : {2, 3, 4}) {
    for (int64_t group : {32, 64, 96, 128, 256, 4096}) {
      for (ScaleType scale : {ScaleType::kFloat16, ScaleType::kFloat32}) {
        for (int64_t tokens : {1, 6}) {
          ExpectAsWritten(RandomUniform({bits, group, scale}, 65, 576, 1), RandomFloats(tokens * 576, 2));
        }
      }
    }
  }
}

TEST_P(UniformLinearTest, EveryOddShape) {
  for (int64_t outputs : {1, 7, 15, 16, 17, 63, 65, 130}) {
    for (int64_t inputs : {32, 64, 96, 128, 160, 1120, 4096}) {
      const UniformMatrix w = RandomUniform({2 + static_cast<int>(outputs % 3), 32}, outputs, inputs, 3);
      for (int64_t tokens : {1, 2}) ExpectAsWritten(w, RandomFloats(tokens * inputs, 4));
    }
  }
}

TEST_P(UniformLinearTest, EveryNumberOfTokens) {
  for (int bits : {2, 3, 4}) {
    const UniformMatrix w = RandomUniform({bits, 64}, 100, 352, 5);
    for (int64_t tokens = 1; tokens <= 40; tokens += bits) ExpectAsWritten(w, RandomFloats(tokens * 352, 6));
    ExpectAsWritten(w, RandomFloats(130 * 352, 6));
  }
}

// Enough tokens and outputs to keep a whole GPU busy; some rows are looked at.
TEST_P(UniformLinearTest, LargeBatch) {
  constexpr int64_t kTokens = 1000, kOutputs = 520, kInputs = 320;
  const std::vector<float> x = RandomFloats(kTokens * kInputs, 21);
  for (int bits : {2, 3, 4}) {
    const UniformMatrix w = RandomUniform({bits, 64}, kOutputs, kInputs, 22);
    const std::vector<float> y = Multiply(backend(), Packed(backend(), w), x);
    for (int64_t t = 0; t < kTokens; t += 37) {
      const std::vector<float> row(y.begin() + t * kOutputs, y.begin() + (t + 1) * kOutputs);
      ASSERT_TRUE(SameBits(row, MultiplyAsWritten(w, &x[t * kInputs]))) << bits << " bits, token " << t;
    }
  }
}

// Few tokens, of which a GPU's block holds one row but not three, or all.
TEST_P(UniformLinearTest, ManyInputs) {
  for (int64_t inputs : {12320, 32768}) {
    for (int bits : {2, 3, 4}) {
      const UniformMatrix w = RandomUniform({bits, 128}, 20, inputs, 7);
      for (int64_t tokens : {1, 3, 17}) ExpectAsWritten(w, RandomFloats(tokens * w.inputs, 8));
    }
  }
}

// Few tokens, of which a GPU's multiprocessor has one tile of outputs, a few or many.
TEST_P(UniformLinearTest, ManyOutputs) {
  for (int64_t outputs : {2100, 4000, 6330, 6400, 8500, 17000}) {
    for (int bits : {2, 3, 4}) {
      const UniformMatrix w = RandomUniform({bits, 64}, outputs, 320, 9);
      for (int64_t tokens : {1, 2, 4}) ExpectAsWritten(w, RandomFloats(tokens * w.inputs, 10));
    }
  }
}

// All codes at one end and all zeros at the other, x at its ends: the largest integers that occur.
TEST_P(UniformLinearTest, ExtremeSums) {
  for (int bits : {2, 3, 4}) {
    for (bool low : {false, true}) {
      UniformMatrix w = RandomUniform({bits, 64}, 33, 512, 9);
      const uint8_t most = static_cast<uint8_t>((1 << bits) - 1);
      std::fill(w.codes.begin(), w.codes.end(), low ? 0 : most);
      std::fill(w.zeros.begin(), w.zeros.end(), low ? most : 0);
      ExpectAsWritten(w, std::vector<float>(512, 3.0f));
      ExpectAsWritten(w, std::vector<float>(512, -1e30f));
    }
  }
}

TEST_P(UniformLinearTest, UnusualRows) {
  const UniformMatrix w = RandomUniform({2, 64}, 40, 256, 10);
  for (float size : {1e-6f, 1e9f, 1e35f, 1e-29f, 1e-34f, 1e-44f, 0.0f})
    ExpectAsWritten(w, RandomFloats(256, 11, size));
  std::vector<float> outlier = RandomFloats(256, 12);
  outlier[100] = 1e8f;
  ExpectAsWritten(w, outlier);
  std::vector<float> one(256, 0.0f);
  one[31] = 1e38f;
  ExpectAsWritten(w, one);
  const std::vector<float> zeros = Multiply(backend(), Packed(backend(), w), std::vector<float>(256, 0.0f));
  EXPECT_THAT(zeros, testing::Each(0.0f));
}

// An input that is no finite number makes all outputs of its row NaN, and of no other.
TEST_P(UniformLinearTest, NotFinite) {
  for (int bits : {2, 4}) {
    const UniformMatrix w = RandomUniform({bits, 64}, 40, 256, 13);
    for (float bad : {kNan, kInfinity, -kInfinity}) {
      std::vector<float> x = RandomFloats(3 * 256, 14);
      x[256 + 77] = bad;
      const std::vector<float> y = Multiply(backend(), Packed(backend(), w), x);
      for (size_t i = 0; i < y.size(); ++i) ASSERT_EQ(std::isnan(y[i]), i / 40 == 1) << bad << ", " << i;
    }
  }
}

// The sums of a real layer against float64.
TEST_P(UniformLinearTest, IsADotProduct) {
  const UniformMatrix w = RandomUniform({3, 128}, 50, 4096, 15);
  const std::vector<float> x = RandomFloats(4096, 16);
  const std::vector<float> y = Multiply(backend(), Packed(backend(), w), x);
  for (int64_t o = 0; o < w.outputs; ++o) {
    double want = 0, size = 0;
    for (int64_t i = 0; i < w.inputs; ++i) {
      want += x[i] * w.weight(o, i);
      size += std::pow(x[i] * w.weight(o, i), 2);
    }
    // A step is at most absmax / 32639, and errors are as random as the inputs.
    EXPECT_NEAR(y[o], want, 3e-4 * std::sqrt(size)) << "output " << o;
  }
}

TEST_P(UniformLinearTest, AddsBiasAndWhatIsThere) {
  const UniformMatrix w = RandomUniform({2, 32}, 37, 160, 17);
  const PackedUniform packed = Packed(backend(), w);
  for (int64_t tokens : {1, 3, 20}) {
    const std::vector<float> x = RandomFloats(tokens * 160, 18), bias = RandomFloats(37, 19),
                             before = RandomFloats(tokens * 37, 20);
    const std::vector<float> product = Multiply(backend(), packed, x);
    const DeviceMatrix<float> inputs(backend(), tokens, 160, x), offsets(backend(), 1, 37, bias);
    for (bool has_bias : {false, true}) {
      for (bool add : {false, true}) {
        const DeviceMatrix<float> y(backend(), tokens, 37, before);
        backend().UniformLinear(packed, inputs, has_bias ? offsets.view() : TensorView<float>(), add, y);
        std::vector<float> want;
        for (int64_t i = 0; i < tokens * 37; ++i) {
          const float sum = has_bias ? product[i] + bias[i % 37] : product[i];
          want.push_back(add ? before[i] + sum : sum);
        }
        EXPECT_TRUE(SameBits(y.Read(), want)) << tokens << " tokens, bias " << has_bias << ", add " << add;
      }
    }
  }
}

TEST_P(UniformLinearTest, NoTokens) {
  EXPECT_TRUE(Multiply(backend(), Packed(backend(), RandomUniform({2, 64}, 8, 64, 21)), {}).empty());
}

TEST_P(UniformLinearTest, ReadsEveryOutputOnce) {
  int64_t next = 0;
  const auto packed = backend().PackUniform({2, 64}, 333, 96, [&](Range outputs, const UniformRows& rows) {
    EXPECT_EQ(outputs.begin, next);
    EXPECT_LE(outputs.size(), kUniformRows);
    EXPECT_EQ(rows.codes.rows(), outputs.size());
    EXPECT_EQ(rows.codes.cols(), 96);
    EXPECT_EQ(rows.scales.rows(), outputs.size());
    EXPECT_EQ(rows.scales.cols(), 2);
    EXPECT_EQ(rows.zeros.cols(), 2);
    std::fill_n(rows.codes.data(), rows.codes.size(), uint8_t{1});
    std::fill_n(rows.zeros.data(), rows.zeros.size(), uint8_t{1});
    std::fill_n(rows.scales.data(), rows.scales.size(), 1.0f);
    next = outputs.end;
  });
  ASSERT_TRUE(packed.ok()) << packed.status();
  EXPECT_EQ(next, 333);
}

TEST_P(UniformLinearTest, RefusesWhatTheFormatCannotHold) {
  const auto message = [&](auto spoil) {
    UniformMatrix w = RandomUniform({2, 64}, 80, 128, 22);
    spoil(w);
    const absl::Status status = Pack(backend(), w).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    return std::string(status.message());
  };
  using testing::HasSubstr;
  EXPECT_THAT(message([](UniformMatrix& w) { w.codes[77 * 128 + 5] = 4; }),
              HasSubstr("output 77 hold the code 4"));
  EXPECT_THAT(message([](UniformMatrix& w) { w.zeros[2 * 3 + 1] = 9; }),
              HasSubstr("output 3 hold the zero 9"));
  EXPECT_THAT(message([](UniformMatrix& w) { w.scales[2 * 66] = kNan; }),
              HasSubstr("output 66 have the scale nan"));
  EXPECT_THAT(message([](UniformMatrix& w) { w.scales[2 * 66] = 1e6f; }), HasSubstr("of 16 bits"));
}

}  // namespace
}  // namespace ternion
