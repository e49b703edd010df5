#include <cmath>
#include <numeric>

#include "tests/support/backends.h"

namespace ternion {
namespace {

// NormQuantize and SubNormQuantize give the bits of the operations they stand for.
class RowInputsTest : public BackendTest {
 protected:
  struct Quantized {
    Quantized(Backend& backend, int64_t rows, int64_t n)
        : codes(backend, rows, n), scales(backend, 1, rows) {}
    QuantizedRows view() const { return {codes, scales}; }

    DeviceMatrix<int8_t> codes;
    DeviceMatrix<float> scales;
  };

  void Int8(TensorView<const float> x, const Quantized& out) {
    const DeviceMatrix<float> absmax(backend(), 1, x.rows());
    backend().RowAbsMax(x, absmax);
    backend().QuantizeInt8(x, absmax, kInt8Floor, out.view());
  }

  void Norm(TensorView<const float> x, int segment, TensorView<const float> weight, TensorView<float> y) {
    const DeviceMatrix<float> sums(backend(), x.rows(), x.cols() / segment);
    backend().SumSquares(x, segment, sums);
    backend().RmsNorm(x, sums, x.cols(), kEps, weight, y);
  }

  void ExpectNormQuantizeComposes(const std::vector<float>& values, int64_t n, bool int4) {
    const int64_t rows = values.size() / n;
    const DeviceMatrix<float> x(backend(), rows, n, values), weight(backend(), 1, n, RandomFloats(n, 2));
    const Quantized got(backend(), rows, n), want(backend(), rows, n);
    backend().NormQuantize(x, kEps, weight, int4, got.view());

    const DeviceMatrix<float> normed(backend(), rows, n);
    Norm(x, static_cast<int>(std::gcd(int64_t{32}, n)), weight, normed);
    int4 ? backend().QuantizeInt4(normed, want.view()) : Int8(normed, want);
    ExpectSame(got, want, std::to_string(rows) + " rows of " + std::to_string(n) + (int4 ? ", int4" : ""));
    EXPECT_TRUE(SameBits(x.Read(), values));
  }

  void ExpectSubNormQuantizeComposes(const std::vector<float>& values, int64_t n, int segment,
                                     bool normalizes, int64_t keep) {
    const int64_t rows = values.size() / n;
    const DeviceMatrix<float> weight(backend(), 1, n, RandomFloats(n, 2));
    RowInput how;
    if (normalizes) how.weight = weight;
    how.segment = segment;
    how.eps = kEps;
    how.keep = keep;
    const DeviceMatrix<float> x(backend(), rows, n, values), y(backend(), rows, n, values);
    const Quantized got(backend(), rows, n), want(backend(), rows, n);
    backend().SubNormQuantize(how, x, got.view());

    if (normalizes) Norm(y, segment, weight, y);
    const DeviceMatrix<float> threshold(backend(), 1, rows);
    backend().KthMagnitude(y, keep, threshold);
    backend().ZeroBelow(threshold, y);
    Int8(y, want);
    ExpectSame(got, want,
               std::to_string(rows) + " rows of " + std::to_string(n) + ", segment " +
                   std::to_string(segment) + (normalizes ? ", normalized" : "") + ", keep " +
                   std::to_string(keep));
  }

 private:
  static constexpr float kEps = 1e-5f;

  static void ExpectSame(const Quantized& got, const Quantized& want, const std::string& what) {
    EXPECT_TRUE(SameBits(got.scales.Read(), want.scales.Read())) << what;
    EXPECT_TRUE(SameBits(got.codes.Read(), want.codes.Read())) << what;
  }
};
INSTANTIATE_BACKEND_TEST(RowInputsTest);

constexpr int64_t kLengths[] = {32, 96, 1056, 2560, 6912, 8192, 28672};

// Of rows 1, 3 and 17: an ordinary one, then zeros, few magnitudes in many places, and sizes far apart.
std::vector<float> Rows(int64_t rows, int64_t n) {
  std::vector<float> x = RandomFloats(rows * n, static_cast<uint32_t>(n + rows));
  for (int64_t i = 0; i < rows * n; ++i) {
    const int64_t row = i / n;
    if (row % 4 == 1) x[i] = 0;
    if (row % 4 == 2) x[i] = std::round(x[i]);
    if (row % 4 == 3) x[i] = std::ldexp(x[i], static_cast<int>(i % 60) - 40);
  }
  return x;
}

TEST_P(RowInputsTest, NormQuantize) {
  for (int64_t n : kLengths) {
    for (int64_t rows : {1, 3, 17}) {
      for (bool int4 : {false, true}) ExpectNormQuantizeComposes(Rows(rows, n), n, int4);
    }
  }
}

TEST_P(RowInputsTest, SubNormQuantize) {
  for (int64_t n : kLengths) {
    for (int64_t rows : {1, 3, 17}) {
      const std::vector<float> x = Rows(rows, n);
      for (bool normalizes : {false, true}) {
        for (int64_t keep : {n / 2, n}) ExpectSubNormQuantizeComposes(x, n, 32, normalizes, keep);
      }
    }
  }
}

// Rows of every share of a block: a lane's, a warp's, more than a block holds.
TEST_P(RowInputsTest, OtherLengths) {
  for (int64_t n : {1, 2, 6, 33, 34, 36, 40, 1000, 1044, 5002, 33024}) {
    const std::vector<float> x = Rows(5, n);
    ExpectNormQuantizeComposes(x, n, /*int4=*/false);
    if (n % 32 == 0) ExpectNormQuantizeComposes(x, n, /*int4=*/true);
    const int segment = static_cast<int>(std::gcd(int64_t{32}, n));
    for (int64_t keep : {int64_t{1}, (n + 2) / 3, n}) {
      ExpectSubNormQuantizeComposes(x, n, segment, /*normalizes=*/true, keep);
      ExpectSubNormQuantizeComposes(x, n, segment, /*normalizes=*/false, keep);
    }
  }
}

// Magnitudes that agree in their leading bits: few or many of them, all different or not.
TEST_P(RowInputsTest, KeepsOfCloseNumbers) {
  for (int64_t n : {64, 8192, 28672, 32768}) {
    for (int64_t same : {1, 5, 40}) {
      std::vector<float> x(n);
      for (int64_t i = 0; i < n; ++i) {
        const int64_t place = i * 7919 % n / same;
        x[i] = std::ldexp(static_cast<float>((int64_t{1} << 23) + place), -23) * (i % 3 == 0 ? -1 : 1);
      }
      for (int64_t keep : {int64_t{1}, int64_t{31}, int64_t{33}, n / 2, n - 1}) {
        ExpectSubNormQuantizeComposes(x, n, 32, /*normalizes=*/false, keep);
        ExpectSubNormQuantizeComposes(x, n, 32, /*normalizes=*/true, keep);
      }
    }
  }
}

// What lies beyond the row's end plays no part, not even where the root is no number.
TEST_P(RowInputsTest, KeepsOfWhatIsNoNumber) {
  for (int64_t n : {96, 6912}) {
    for (float outlier : {NAN, INFINITY, 1e30f}) {
      std::vector<float> x = Rows(3, n);
      for (int64_t t = 0; t < 3; ++t) x[t * n + 9 * t] = outlier;
      for (int64_t keep : {int64_t{1}, n / 2, n - 1, n}) {
        ExpectSubNormQuantizeComposes(x, n, 32, /*normalizes=*/false, keep);
        ExpectSubNormQuantizeComposes(x, n, 32, /*normalizes=*/true, keep);
      }
    }
  }
}

TEST_P(RowInputsTest, SmallSegments) {
  for (int segment : {1, 2, 4, 8, 16}) {
    ExpectSubNormQuantizeComposes(Rows(3, 2560), 2560, segment, /*normalizes=*/true, 1280);
  }
}

// More rows than a device has multiprocessors.
TEST_P(RowInputsTest, ManyRows) {
  for (int64_t n : {512, 2560, 6912}) {
    const std::vector<float> x = Rows(200, n);
    ExpectNormQuantizeComposes(x, n, /*int4=*/false);
    ExpectNormQuantizeComposes(x, n, /*int4=*/true);
    ExpectSubNormQuantizeComposes(x, n, 32, /*normalizes=*/true, n / 2);
  }
}

TEST_P(RowInputsTest, WhatIsNoNumber) {
  std::vector<float> x = Rows(4, 96);
  x[5] = NAN;
  x[96 + 7] = INFINITY;
  x[2 * 96 + 9] = -INFINITY;
  ExpectNormQuantizeComposes(x, 96, /*int4=*/false);
  ExpectSubNormQuantizeComposes(x, 96, 32, /*normalizes=*/false, 48);
  ExpectSubNormQuantizeComposes(x, 96, 32, /*normalizes=*/true, 48);
}

// Rows whose squares, quotients or codes leave the usual range.
TEST_P(RowInputsTest, UnusualNumbers) {
  const auto expect_composes = [&](const std::vector<float>& x) {
    for (bool int4 : {false, true}) ExpectNormQuantizeComposes(x, 992, int4);
    for (bool normalizes : {false, true}) ExpectSubNormQuantizeComposes(x, 992, 32, normalizes, 992);
  };
  for (float scale : {0.0f, 1e-38f, 1e-20f, 1e-6f, 1e12f, 1e25f}) {
    std::vector<float> x = Rows(1, 992);
    for (float& value : x) value *= scale;
    expect_composes(x);
  }
  std::vector<float> apart = Rows(1, 992);
  for (size_t i = 0; i < apart.size(); ++i) apart[i] = std::ldexp(apart[i], static_cast<int>(i % 60) - 40);
  for (float outlier : {0.0f, 1e18f, INFINITY, NAN}) {
    apart[77] = outlier;
    expect_composes(apart);
  }
}

TEST_P(RowInputsTest, NoRows) {
  ExpectNormQuantizeComposes({}, 64, /*int4=*/false);
  ExpectSubNormQuantizeComposes({}, 64, 32, /*normalizes=*/true, 32);
}

}  // namespace
}  // namespace ternion
