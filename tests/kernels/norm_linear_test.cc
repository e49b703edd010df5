#include <cmath>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "tests/kernels/ternary_cases.h"
#include "tests/support/backends.h"

namespace ternion {
namespace {

// The operations that normalize, quantize and multiply at once give the bits of those they stand for.
class NormLinearTest : public BackendTest {
 protected:
  // Rows and what they are multiplied with.
  struct Operands {
    Operands(Backend& backend, const std::vector<float>& values, int64_t inputs, int64_t outputs,
             std::mt19937& random)
        : rows(static_cast<int64_t>(values.size()) / inputs),
          x(backend, rows, inputs, values),
          norm(backend, 1, inputs, RandomFloats(inputs, 2)),
          first(Pack(backend, TernaryLayout::kByOutput, RandomTrits(outputs, inputs, random))),
          second(Pack(backend, TernaryLayout::kByOutput, RandomTrits(outputs, inputs, random))),
          first_scale(backend, 1, outputs, RandomScales(outputs, random)),
          second_scale(backend, 1, outputs, RandomScales(outputs, random)),
          codes(backend, rows, inputs),
          scales(backend, 1, rows),
          got(backend, rows, outputs, RandomFloats(rows * outputs, 3)),
          want(backend, rows, outputs, RandomFloats(rows * outputs, 3)) {}

    QuantizedRows quantized() const { return {codes, scales}; }
    void ExpectSame(const std::string& what) const {
      EXPECT_TRUE(SameBits(got.Read(), want.Read()))
          << what << ": " << rows << " rows of " << x.view().cols() << " to " << got.view().cols();
    }

    int64_t rows;
    DeviceMatrix<float> x, norm;
    PackedTernary first, second;
    DeviceMatrix<float> first_scale, second_scale;
    DeviceMatrix<int8_t> codes;
    DeviceMatrix<float> scales, got, want;
  };

  void ExpectNormComposes(const std::vector<float>& values, int64_t inputs, int64_t outputs, bool int4) {
    const Operands a(backend(), values, inputs, outputs, random_);
    const NormInput input{a.x, a.norm, kEps, int4};
    const std::string kind = int4 ? " int4" : " int8";
    const auto quantize = [&] { backend().NormQuantize(a.x, kEps, a.norm, int4, a.quantized()); };
    backend().NormTernaryLinear(input, a.first, a.first_scale, a.quantized(), a.got);
    quantize();
    backend().TernaryLinear(a.first, a.quantized(), a.first_scale, /*add=*/false, a.want);
    a.ExpectSame("linear" + kind);

    backend().NormGatedRelu2(input, a.first, a.second, a.first_scale, a.second_scale, a.quantized(), a.got);
    quantize();
    backend().GatedRelu2(a.first, a.second, a.quantized(), a.first_scale, a.second_scale, a.want);
    a.ExpectSame("relu2" + kind);

    backend().NormGatedSilu(input, a.first, a.second, a.first_scale, a.second_scale, a.quantized(), a.got);
    quantize();
    backend().GatedSilu(a.first, a.second, a.quantized(), a.first_scale, a.second_scale, a.want);
    a.ExpectSame("silu" + kind);
    EXPECT_TRUE(SameBits(a.x.Read(), values));
  }

  void ExpectSubNormComposes(const std::vector<float>& values, int64_t inputs, int64_t outputs, int segment,
                             bool normalizes, int64_t keep) {
    const Operands a(backend(), values, inputs, outputs, random_);
    RowInput how;
    if (normalizes) how.weight = a.norm;
    how.segment = segment;
    how.eps = kEps;
    how.keep = keep;
    const DeviceMatrix<float> y(backend(), a.rows, inputs, values);
    backend().SubNormTernaryLinear(how, y, a.first, a.first_scale, a.quantized(), a.got);
    backend().SubNormQuantize(how, a.x, a.quantized());
    backend().TernaryLinear(a.first, a.quantized(), a.first_scale, /*add=*/true, a.want);
    a.ExpectSame("segment " + std::to_string(segment) + (normalizes ? ", normalized" : "") + ", keep " +
                 std::to_string(keep));
  }

  static constexpr float kEps = 1e-5f;
  std::mt19937 random_{7};
};
INSTANTIATE_BACKEND_TEST(NormLinearTest);

std::vector<float> Rows(int64_t rows, int64_t n) {
  return RandomFloats(rows * n, static_cast<uint32_t>(n + rows));
}

TEST_P(NormLinearTest, Norm) {
  for (int64_t inputs : {32, 96, 256, 1056, 2560, 8192}) {
    for (int64_t rows : {1, 2, 5}) {
      for (bool int4 : {false, true}) ExpectNormComposes(Rows(rows, inputs), inputs, 72, int4);
    }
  }
  ExpectNormComposes(Rows(1, 512), 512, 5003, /*int4=*/false);
}

TEST_P(NormLinearTest, SubNorm) {
  for (int64_t inputs : {32, 992, 2560, 6912}) {
    for (int64_t rows : {1, 3}) {
      for (bool normalizes : {false, true}) {
        for (int64_t keep : {inputs / 2, inputs})
          ExpectSubNormComposes(Rows(rows, inputs), inputs, 72, 32, normalizes, keep);
      }
    }
  }
}

TEST_P(NormLinearTest, OtherShapes) {
  for (int64_t inputs : {1, 6, 33, 36, 1000, 20000}) {
    const int segment = static_cast<int>(std::gcd(int64_t{32}, inputs));
    ExpectNormComposes(Rows(1, inputs), inputs, 40, /*int4=*/false);
    ExpectSubNormComposes(Rows(1, inputs), inputs, 40, segment, /*normalizes=*/true, inputs);
    ExpectSubNormComposes(Rows(1, inputs), inputs, 40, segment, /*normalizes=*/false, inputs);
  }
  for (int segment : {1, 4, 16}) ExpectSubNormComposes(Rows(1, 512), 512, 40, segment, true, 512);
}

// Rows whose squares, quotients or codes leave the usual range.
TEST_P(NormLinearTest, UnusualNumbers) {
  for (float scale : {0.0f, 1e-38f, 1e-20f, 1e-6f, 1e12f, 1e25f}) {
    std::vector<float> x = Rows(1, 992);
    for (float& value : x) value *= scale;
    for (bool int4 : {false, true}) ExpectNormComposes(x, 992, 40, int4);
    for (bool normalizes : {false, true}) ExpectSubNormComposes(x, 992, 40, 32, normalizes, 992);
  }
  std::vector<float> apart = Rows(1, 992);
  for (size_t i = 0; i < apart.size(); ++i) apart[i] = std::ldexp(apart[i], static_cast<int>(i % 60) - 40);
  for (float outlier : {0.0f, 1e18f, INFINITY, NAN}) {
    apart[77] = outlier;
    for (bool int4 : {false, true}) ExpectNormComposes(apart, 992, 40, int4);
    for (bool normalizes : {false, true}) ExpectSubNormComposes(apart, 992, 40, 32, normalizes, 992);
  }
}

TEST_P(NormLinearTest, NoRows) {
  ExpectNormComposes({}, 64, 40, /*int4=*/false);
  ExpectSubNormComposes({}, 64, 40, 32, /*normalizes=*/true, 64);
}

}  // namespace
}  // namespace ternion
