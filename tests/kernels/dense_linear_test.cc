#include <cmath>
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
};
INSTANTIATE_BACKEND_TEST(DenseLinearTest);

TEST_P(DenseLinearTest, IsADotProduct) {
  for (DenseType type : {DenseType::kBFloat16, DenseType::kFloat16}) {
    for (int64_t outputs : {1, 7, 63, 65, 300}) {
      for (int64_t inputs : {16, 48, 528, 1040}) {
        const PlainWeights w = RandomWeights(type, outputs * inputs, 1);
        const std::vector<float> x = RandomFloats(3 * inputs, 2);
        const std::vector<float> y = Multiply(backend(), w, x, inputs);
        for (int64_t i = 0; i < 3 * outputs; ++i) {
          double want = 0, size = 0;
          for (int64_t c = 0; c < inputs; ++c) {
            const double product = double{x[i / outputs * inputs + c]} * w.values[i % outputs * inputs + c];
            want += product;
            size += std::abs(product);
          }
          ASSERT_NEAR(y[i], want, 2e-6 * size) << outputs << " x " << inputs << ", element " << i;
        }
      }
    }
  }
}

TEST_P(DenseLinearTest, SumsLikeTheHead) {
  const int64_t inputs = 272, outputs = 45, tokens = 9;
  const PlainWeights w = RandomWeights(DenseType::kBFloat16, outputs * inputs, 3);
  const std::vector<float> x = RandomFloats(tokens * inputs, 4);
  std::vector<BFloat16> table;
  for (uint16_t bits : w.bits) table.push_back({bits});
  DeviceMatrix<float> logits(backend(), tokens, outputs);
  backend().Head(DeviceMatrix<float>(backend(), tokens, inputs, x),
                 DeviceMatrix<BFloat16>(backend(), outputs, inputs, table), logits);
  EXPECT_TRUE(SameBits(Multiply(backend(), w, x, inputs), logits.Read()));
}

TEST_P(DenseLinearTest, BitsDoNotDependOnBatchOrShard) {
  const int64_t inputs = 528, outputs = 131, tokens = 40;
  for (DenseType type : {DenseType::kBFloat16, DenseType::kFloat16}) {
    const PlainWeights w = RandomWeights(type, outputs * inputs, 5);
    const std::vector<float> x = RandomFloats(tokens * inputs, 6);
    const std::vector<float> all = Multiply(backend(), w, x, inputs);
    EXPECT_TRUE(SameBits(all, Multiply(reference(), w, x, inputs)));
    for (int64_t rows = 1; rows < tokens; rows += 4) {
      const std::vector<float> some = Multiply(backend(), w, {x.begin(), x.begin() + rows * inputs}, inputs);
      EXPECT_TRUE(SameBits(some, {all.begin(), all.begin() + rows * outputs})) << rows << " rows";
    }
    const PlainWeights shard{type, {w.bits.begin() + 70 * inputs, w.bits.end()}, {}};
    const std::vector<float> part = Multiply(backend(), shard, x, inputs);
    for (int64_t t = 0; t < tokens; ++t) {
      const auto at = all.begin() + t * outputs;
      ASSERT_TRUE(SameBits(std::vector<float>(at + 70, at + outputs),
                           {part.begin() + t * 61, part.begin() + (t + 1) * 61}));
    }
  }
}

TEST_P(DenseLinearTest, AddsBiasAndWhatIsThere) {
  const int64_t inputs = 64, outputs = 33;
  for (DenseType type : {DenseType::kBFloat16, DenseType::kFloat16}) {
    const PlainWeights w = RandomWeights(type, outputs * inputs, 7);
    for (int64_t tokens : {1, 20}) {
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
