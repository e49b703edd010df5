#include <cmath>
#include <limits>
#include <vector>

#include "tests/support/backends.h"

namespace ternion {
namespace {

// Plain weights and what they stand for.
struct PlainWeights {
  DenseType type;
  std::vector<uint16_t> bits;  // [outputs, inputs]
  std::vector<float> values;
};

// Halves of every kind: normal, subnormal, zeros of both signs.
float ValueOfHalf(uint16_t bits) {
  const int exponent = bits >> 10 & 31, mantissa = bits & 1023;
  const float size = exponent == 0 ? std::ldexp(static_cast<float>(mantissa), -24)
                                   : std::ldexp(static_cast<float>(mantissa + 1024), exponent - 25);
  return (bits & 0x8000) != 0 ? -size : size;
}

PlainWeights RandomWeights(DenseType type, int64_t n, uint32_t seed) {
  PlainWeights w{type, {}, {}};
  std::minstd_rand random(seed + 1);
  const std::vector<BFloat16> numbers = RandomBf16(n, seed);
  for (int64_t i = 0; i < n; ++i) {
    // Exponents up to 15, so that sums stay near 1.
    const auto half = static_cast<uint16_t>((random() >> 8) % 0x4000 | (random() >> 8) % 2 << 15);
    w.bits.push_back(type == DenseType::kBFloat16 ? numbers[i].bits : half);
    w.values.push_back(type == DenseType::kBFloat16 ? Widen(numbers[i]) : ValueOfHalf(half));
  }
  return w;
}

constexpr DenseType kTypes[] = {DenseType::kBFloat16, DenseType::kFloat16};

std::vector<float> Rows(const std::vector<float>& x, int64_t first, int64_t rows, int64_t cols) {
  return {x.begin() + first * cols, x.begin() + (first + rows) * cols};
}

class DenseLinearTest : public BackendTest {
 protected:
  static std::vector<float> Multiply(Backend& on, const PlainWeights& w, const std::vector<float>& x,
                                     int64_t inputs, const std::vector<float>& bias = {},
                                     const std::vector<float>& before = {}) {
    const int64_t tokens = x.size() / inputs, outputs = w.bits.size() / inputs;
    DenseMatrix matrix{w.type, outputs, inputs, *on.Allocate(w.bits.size() * 2)};
    on.CopyFromHost(matrix.data.data(), w.bits.data(), w.bits.size() * 2);
    on.Synchronize();
    DeviceMatrix<float> y(on, tokens, outputs), offsets(on, 1, std::max<int64_t>(1, bias.size()));
    if (!bias.empty()) offsets.Write(bias);
    if (!before.empty()) y.Write(before);
    on.DenseLinear(matrix, DeviceMatrix<float>(on, tokens, inputs, x),
                   bias.empty() ? TensorView<float>() : offsets.view(), !before.empty(), y);
    return y.Read();
  }

  // Each element lies as near to the exact one as sums in float32 do.
  void ExpectDotProducts(const PlainWeights& w, const std::vector<float>& x, int64_t inputs) {
    const int64_t outputs = w.bits.size() / inputs, n = x.size() / inputs * outputs;
    const std::vector<float> y = Multiply(backend(), w, x, inputs);
    ASSERT_EQ(static_cast<int64_t>(y.size()), n);
    for (int64_t i = 0; i < n; ++i) {
      double want = 0, size = 0;
      for (int64_t c = 0; c < inputs; ++c) {
        const double product = double{x[i / outputs * inputs + c]} * w.values[i % outputs * inputs + c];
        want += product;
        size += std::abs(product);
      }
      ASSERT_NEAR(y[i], want, 2e-6 * size)
          << outputs << " x " << inputs << ", " << n / outputs << " tokens, element " << i;
    }
  }
};
INSTANTIATE_BACKEND_TEST(DenseLinearTest);

TEST_P(DenseLinearTest, IsADotProduct) {
  for (DenseType type : kTypes) {
    for (int64_t outputs : {1, 7, 63, 65, 300}) {
      for (int64_t inputs : {16, 48, 528, 1040}) {
        const PlainWeights w = RandomWeights(type, outputs * inputs, 1);
        for (int64_t tokens : {3, 35}) ExpectDotProducts(w, RandomFloats(tokens * inputs, 2), inputs);
      }
    }
  }
}

TEST_P(DenseLinearTest, ManyInputs) {
  const int64_t inputs = 28688;
  for (DenseType type : kTypes) {
    const PlainWeights w = RandomWeights(type, 3 * inputs, 1);
    for (int64_t tokens : {1, 33}) ExpectDotProducts(w, RandomFloats(tokens * inputs, 2), inputs);
  }
}

TEST_P(DenseLinearTest, InputsOfAnySize) {
  const int64_t inputs = 208, tokens = 36;
  for (DenseType type : kTypes) {
    const PlainWeights w = RandomWeights(type, 20 * inputs, 1);
    std::vector<float> x = RandomFloats(tokens * inputs, 2);
    for (int64_t t = 0; t < tokens; ++t) {
      const float size = std::ldexp(1.0f, static_cast<int>(t % 9 - 4) * 24);
      for (int64_t c = 0; c < inputs; ++c) x[t * inputs + c] *= c % 70 == t ? 1000 * size : size;
    }
    ExpectDotProducts(w, x, inputs);
    ExpectDotProducts(w, Rows(x, 0, 9, inputs), inputs);
    ExpectDotProducts(w, std::vector<float>(2 * inputs), inputs);
  }
}

TEST_P(DenseLinearTest, SumsLikeTheHeadOnTheCpu) {
  const int64_t inputs = 272, outputs = 45, tokens = 9;
  const PlainWeights w = RandomWeights(DenseType::kBFloat16, outputs * inputs, 3);
  const std::vector<float> x = RandomFloats(tokens * inputs, 4);
  std::vector<BFloat16> table;
  for (uint16_t bits : w.bits) table.push_back({bits});
  DeviceMatrix<float> logits(backend(), tokens, outputs);
  backend().Head(DeviceMatrix<float>(backend(), tokens, inputs, x),
                 DeviceMatrix<BFloat16>(backend(), outputs, inputs, table), logits);
  ExpectClose(Multiply(backend(), w, x, inputs), logits.Read(), tolerance());
}

TEST_P(DenseLinearTest, BitsDoNotDependOnBatch) {
  const int64_t inputs = 528, outputs = 67, tokens = 130;
  for (DenseType type : kTypes) {
    const PlainWeights w = RandomWeights(type, outputs * inputs, 5);
    const std::vector<float> x = RandomFloats(tokens * inputs, 6);
    const std::vector<float> all = Multiply(backend(), w, x, inputs);
    EXPECT_TRUE(SameBits(all, Multiply(reference(), w, x, inputs)));
    for (int64_t rows = 1; rows <= 40; ++rows) {
      const int64_t first = rows * 2;
      EXPECT_TRUE(SameBits(Multiply(backend(), w, Rows(x, first, rows, inputs), inputs),
                           Rows(all, first, rows, outputs)))
          << rows << " rows";
    }
  }
}

// A GPU takes other tiles where many outputs or tokens fill it.
TEST_P(DenseLinearTest, BitsDoNotDependOnTheTiles) {
  const bool cuda = GetParam().family == "cuda";
  const int64_t inputs = 592, outputs = cuda ? 4250 : 85, tokens = cuda ? 650 : 34, part = 50;
  for (DenseType type : kTypes) {
    const PlainWeights w = RandomWeights(type, outputs * inputs, 5);
    const PlainWeights last{type, {w.bits.end() - part * inputs, w.bits.end()}, {}};
    const std::vector<float> x = RandomFloats(tokens * inputs, 6);
    const std::vector<float> all = Multiply(backend(), w, x, inputs);
    for (int64_t rows : {1, 4, 7, 12, 17, 31, 33, 200}) {
      if (rows > tokens) continue;
      const std::vector<float> some = Rows(x, tokens - rows, rows, inputs);
      const std::vector<float> want = Rows(all, tokens - rows, rows, outputs);
      EXPECT_TRUE(SameBits(Multiply(backend(), w, some, inputs), want)) << rows << " rows";
      const std::vector<float> of_last = Multiply(backend(), last, some, inputs);
      for (int64_t t = 0; t < rows; ++t) {
        ASSERT_TRUE(SameBits(Rows(of_last, t, 1, part),
                             {want.begin() + (t + 1) * outputs - part, want.begin() + (t + 1) * outputs}))
            << rows << " rows";
      }
    }
  }
}

TEST_P(DenseLinearTest, RowsDoNotLeak) {
  const int64_t inputs = 144, outputs = 21;
  for (DenseType type : kTypes) {
    PlainWeights w = RandomWeights(type, outputs * inputs, 5);
    for (int64_t tokens : {6, 12, 40}) {
      std::vector<float> x = RandomFloats(tokens * inputs, 6);
      const std::vector<float> clean = Multiply(backend(), w, x, inputs);
      x[1 * inputs + 100] = std::numeric_limits<float>::quiet_NaN();
      x[4 * inputs + 3] = std::numeric_limits<float>::infinity();
      PlainWeights broken = w;
      broken.bits[7 * inputs + 140] = 0x7fff;  // NaN
      const std::vector<float> y = Multiply(backend(), broken, x, inputs);
      for (int64_t i = 0; i < tokens * outputs; ++i) {
        const int64_t token = i / outputs, output = i % outputs;
        if (token == 1 || token == 4 || output == 7) {
          ASSERT_FALSE(std::isfinite(y[i])) << "token " << token << ", output " << output;
        } else {
          ASSERT_TRUE(SameBits(std::vector{y[i]}, std::vector{clean[i]}))
              << "token " << token << ", output " << output;
        }
      }
    }
  }
}

TEST_P(DenseLinearTest, AddsBiasAndWhatIsThere) {
  const int64_t inputs = 64, outputs = 33;
  for (DenseType type : kTypes) {
    const PlainWeights w = RandomWeights(type, outputs * inputs, 7);
    for (int64_t tokens : {1, 20, 50}) {
      const std::vector<float> x = RandomFloats(tokens * inputs, 8), bias = RandomFloats(outputs, 9),
                               before = RandomFloats(tokens * outputs, 10);
      const std::vector<float> product = Multiply(backend(), w, x, inputs);
      std::vector<float> with_bias, added;
      for (int64_t i = 0; i < tokens * outputs; ++i) {
        with_bias.push_back(product[i] + bias[i % outputs]);
        added.push_back(before[i] + with_bias.back());
      }
      EXPECT_TRUE(SameBits(Multiply(backend(), w, x, inputs, bias), with_bias));
      EXPECT_TRUE(SameBits(Multiply(backend(), w, x, inputs, bias, before), added));
    }
  }
}

TEST_P(DenseLinearTest, NoTokens) {
  EXPECT_TRUE(Multiply(backend(), RandomWeights(DenseType::kFloat16, 3 * 32, 11), {}, 32).empty());
}

}  // namespace
}  // namespace ternion
