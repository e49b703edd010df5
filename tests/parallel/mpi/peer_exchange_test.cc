#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "tests/parallel/mpi/peer_fixture.h"

namespace ternion {
namespace {

class PeerExchangeTest : public PeerTest {
 protected:
  // Numbers that every rank can make for every other. Of each 16 rows one is all zeros, one tiny and one huge; one has
  // what is no number.
  static std::vector<float> Floats(int of_rank, int64_t rows, int64_t cols, uint32_t seed) {
    std::vector<float> x = RandomFloats(rows * cols, seed * 16 + static_cast<uint32_t>(of_rank));
    for (int64_t t = 0; t < rows; ++t) {
      const float by = t % 16 == 3 ? 0.0f : t % 16 == 5 ? 1e-36f : t % 16 == 7 ? 1e36f : 1.0f;
      for (int64_t i = 0; i < cols; ++i) x[t * cols + i] *= by;
      if (t % 16 != 9) continue;
      x[t * cols + 1] = std::numeric_limits<float>::infinity();
      x[t * cols + cols / 2] = -0.0f;
      x[t * cols + cols - 1] = std::numeric_limits<float>::quiet_NaN();
    }
    return x;
  }
  static std::vector<int32_t> Sums(int of_rank, int64_t n, uint32_t seed) {
    std::minstd_rand random(seed * 16 + static_cast<uint32_t>(of_rank) + 1);
    std::vector<int32_t> x(n);
    for (int32_t& value : x) value = static_cast<int32_t>(random() % 200'000) - 100'000;
    return x;
  }

  // x through a wire.
  void Round(WireFormat format, const DeviceMatrix<float>& x) {
    const TensorView<float> view = x;
    const DeviceMatrix<uint8_t> wire(backend(), view.rows(), WireRowBytes(format, view.cols()));
    if (format == WireFormat::kInt8) {
      backend().EncodeInt8(x, wire);
      backend().DecodeInt8(wire, false, x);
    } else {
      backend().EncodeInt4(x, wire);
      backend().DecodeInt4(wire, false, x);
    }
  }

  // The sum of all ranks' rows, each rounded.
  DeviceMatrix<float> RoundedSum(WireFormat format, int64_t tokens, int64_t n, uint32_t seed) {
    DeviceMatrix<float> sum(backend(), tokens, n, Floats(0, tokens, n, seed));
    Round(format, sum);
    for (int r = 1; r < size(); ++r) {
      const DeviceMatrix<float> share(backend(), tokens, n, Floats(r, tokens, n, seed));
      Round(format, share);
      backend().Add(share, sum);
    }
    return sum;
  }
  std::vector<float> ExtraSum(int64_t tokens, uint32_t seed) {
    std::vector<float> sum;
    for (int r = 0; r < size(); ++r) {
      const std::vector<float> share = Extra(r, tokens, seed);
      if (r == 0) sum = share;
      for (int64_t t = 0; r > 0 && t < tokens; ++t) sum[t] += share[t];
    }
    return sum;
  }
  static std::vector<float> Extra(int of_rank, int64_t tokens, uint32_t seed) {
    std::vector<float> x = RandomFloats(tokens, seed * 16 + 8 + static_cast<uint32_t>(of_rank));
    for (float& value : x) value = std::abs(value) * 100;
    return x;
  }

  void CheckReduceLossy(WireFormat format, int64_t tokens, int64_t n, bool with_extra, uint32_t seed) {
    const Range owned = ranks_->OwnedRows(tokens);
    const DeviceMatrix<float> mine(backend(), tokens, n, Floats(rank(), tokens, n, seed));
    const DeviceMatrix<float> extra(backend(), 1, tokens, Extra(rank(), tokens, seed));
    const DeviceMatrix<float> sum(backend(), owned.size(), n);
    const DeviceMatrix<float> extra_sum(backend(), 1, owned.size());
    const DeviceMatrix<float> want = RoundedSum(format, tokens, n, seed);
    Wander();
    ASSERT_TRUE(ranks_
                    ->ReduceLossy(format, mine, with_extra ? extra.view().data() : nullptr, sum,
                                  with_extra ? extra_sum.view().data() : nullptr)
                    .ok());
    ASSERT_EQ(Different(sum.Read(), RowsOf(want.Read(), owned, n)), 0) << tokens << " x " << n;
    if (with_extra) {
      ASSERT_EQ(Different(extra_sum.Read(), RowsOf(ExtraSum(tokens, seed), owned, 1)), 0);
    }
    ASSERT_TRUE(ranks_->Health().ok());
  }

  void CheckReduceLossyAdd(WireFormat format, int64_t tokens, int64_t n, bool with_extra, uint32_t seed) {
    const Range owned = ranks_->OwnedRows(tokens);
    const DeviceMatrix<float> mine(backend(), tokens, n, Floats(rank(), tokens, n, seed));
    const DeviceMatrix<float> extra(backend(), 1, tokens, Extra(rank(), tokens, seed));
    const std::vector<float> residual = RandomFloats(tokens * n, seed + 77);
    const DeviceMatrix<float> got(backend(), owned.size(), n, RowsOf(residual, owned, n));
    const DeviceMatrix<float> want(backend(), tokens, n, residual);
    const DeviceMatrix<float> sum = RoundedSum(format, tokens, n, seed);
    if (with_extra) {
      const DeviceMatrix<float> factor(backend(), 1, tokens, ExtraSum(tokens, seed));
      backend().InverseRms(factor, 1234, 1e-5f, factor);
      backend().ScaleRows(factor, sum);
    }
    backend().Add(sum, want);
    Wander();
    ranks_->PeerReduceLossyAdd(format, mine, with_extra ? extra.view().data() : nullptr, 1234, 1e-5f, got);
    ASSERT_EQ(Different(got.Read(), RowsOf(want.Read(), owned, n)), 0) << tokens << " x " << n;
  }

  void CheckGatherCodes(bool int4, int64_t tokens, int64_t n, uint32_t seed) {
    std::minstd_rand random(seed);
    std::vector<int8_t> codes(tokens * n);
    for (int8_t& code : codes) {
      code = static_cast<int8_t>(int4 ? static_cast<int>(random() % 16) - 8
                                      : static_cast<int>(random() % 256) - 128);
    }
    const std::vector<float> scales = RandomFloats(tokens, seed);
    const Range owned = ranks_->OwnedRows(tokens);
    const DeviceMatrix<int8_t> my_codes(backend(), owned.size(), n, RowsOf(codes, owned, n));
    const DeviceMatrix<float> my_scales(backend(), 1, owned.size(), RowsOf(scales, owned, 1));
    const DeviceMatrix<int8_t> got_codes(backend(), tokens, n);
    const DeviceMatrix<float> got_scales(backend(), 1, tokens);
    Wander();
    ASSERT_TRUE(ranks_->GatherCodes(int4, {my_codes, my_scales}, {got_codes, got_scales}).ok());
    ASSERT_EQ(Different(got_codes.Read(), codes), 0) << tokens << " x " << n;
    ASSERT_EQ(Different(got_scales.Read(), scales), 0);
  }

  // ReduceAdd, and with the norm behind it.
  void CheckReduceAdd(bool norm, bool int4, int64_t tokens, int64_t n, uint32_t seed) {
    std::vector<int32_t> whole(tokens * n);
    for (int r = 0; r < size(); ++r) {
      const std::vector<int32_t> share = Sums(r, tokens * n, seed);
      for (size_t i = 0; i < whole.size(); ++i) whole[i] += share[i];
    }
    const DeviceMatrix<int32_t> mine(backend(), tokens, n, Sums(rank(), tokens * n, seed));
    const DeviceMatrix<int32_t> sum(backend(), tokens, n, whole);
    const DeviceMatrix<float> row_scale(backend(), 1, tokens, RandomFloats(tokens, seed + 1, 1e-5f));
    const DeviceMatrix<float> weight_scale(backend(), 1, n, RandomFloats(n, seed + 2));
    const DeviceMatrix<float> norm_weight(backend(), 1, n, RandomFloats(n, seed + 3));
    const std::vector<float> residual = RandomFloats(tokens * n, seed + 4);
    const DeviceMatrix<float> got(backend(), tokens, n, residual), want(backend(), tokens, n, residual);
    const DeviceMatrix<int8_t> codes(backend(), tokens, n), want_codes(backend(), tokens, n);
    const DeviceMatrix<float> scales(backend(), 1, tokens), want_scales(backend(), 1, tokens);
    const DeviceMatrix<float> delta(backend(), tokens, n);
    backend().Dequantize(sum, row_scale, weight_scale, delta);
    backend().Add(delta, want);
    backend().NormQuantize(want, 1e-5f, norm_weight, int4, {want_codes, want_scales});
    Wander();
    if (norm) {
      ASSERT_TRUE(peers_->TakesNorm(n));
      peers_->ReduceAddNormQuantize(mine, row_scale, weight_scale, got, 1e-5f, norm_weight, int4,
                                    {codes, scales});
      EXPECT_EQ(Different(codes.Read(), want_codes.Read()), 0) << tokens << " x " << n;
      EXPECT_EQ(Different(scales.Read(), want_scales.Read()), 0);
    } else {
      peers_->ReduceAdd(mine, row_scale, weight_scale, got);
    }
    ASSERT_EQ(Different(got.Read(), want.Read()), 0) << tokens << " x " << n;
  }

  void CheckSubNormQuantize(int64_t tokens, int64_t n, int segment, int64_t keep, uint32_t seed) {
    std::vector<int64_t> columns;
    for (int r = 0; r < size(); ++r) {
      columns.push_back(n / size() / 32 * 32 + (r == 0 ? n - n / size() / 32 * 32 * size() : 0));
    }
    const std::vector<float> rows = RandomFloats(tokens * n, seed);
    int64_t begin = 0;
    for (int r = 0; r < rank(); ++r) begin += columns[r];
    std::vector<float> own;
    for (int64_t t = 0; t < tokens; ++t) {
      own.insert(own.end(), rows.begin() + t * n + begin, rows.begin() + t * n + begin + columns[rank()]);
    }
    const DeviceMatrix<float> weight(backend(), 1, n, RandomFloats(n, seed + 1));
    const RowInput how{weight, segment, 1e-5f, keep};
    const DeviceMatrix<float> whole(backend(), tokens, n, rows),
        mine(backend(), tokens, columns[rank()], own);
    const DeviceMatrix<int8_t> want(backend(), tokens, n), got(backend(), tokens, columns[rank()]);
    const DeviceMatrix<float> scales(backend(), 1, tokens), want_scales(backend(), 1, tokens);
    backend().SubNormQuantize(how, whole, {want, want_scales});
    ASSERT_TRUE(peers_->Takes(how, columns));
    Wander();
    peers_->SubNormQuantize(how, columns, mine, {got, scales});
    const std::vector<int8_t> got_codes = got.Read(), codes = want.Read();
    for (int64_t t = 0; t < tokens; ++t) {
      ASSERT_TRUE(std::equal(codes.begin() + t * n + begin, codes.begin() + t * n + begin + columns[rank()],
                             got_codes.begin() + t * columns[rank()]));
    }
    ASSERT_EQ(Different(scales.Read(), want_scales.Read()), 0);
  }
};

TEST_F(PeerExchangeTest, ReduceLossy) {
  uint32_t seed = 1;
  for (const WireFormat format : {WireFormat::kInt8, WireFormat::kInt4}) {
    for (const int64_t n : {128, 384, 2560}) {
      for (const int64_t tokens : {1, 16, 17, 40, 333}) {
        ASSERT_NO_FATAL_FAILURE(CheckReduceLossy(format, tokens, n, seed % 2 == 0, seed));
        ASSERT_NO_FATAL_FAILURE(CheckReduceLossyAdd(format, tokens, n, seed % 3 != 0, seed));
        ++seed;
      }
    }
  }
}

// More than a section of an inbox holds, in slices.
TEST_F(PeerExchangeTest, ManyRowsGoInSlices) {
  if (size() != 2) GTEST_SKIP() << "sized for two";
  const int64_t tokens = 9000, n = 8192;
  const Range owned = ranks_->OwnedRows(tokens);
  const DeviceMatrix<float> mine(backend(), tokens, n), sum(backend(), owned.size(), n);
  const std::vector<float> row = RandomFloats(n, 5);
  std::vector<float> rows(tokens * n);
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t i = 0; i < n; ++i) rows[t * n + i] = row[(i + t) % n] * static_cast<float>(rank() + 1);
  }
  mine.Write(rows);
  for (const WireFormat format : {WireFormat::kInt8, WireFormat::kInt4}) {
    ASSERT_TRUE(ranks_->ReduceLossy(format, mine, nullptr, sum, nullptr).ok());
    const std::vector<float> got = sum.Read();
    // Twice a number is rounded to twice its rounding.
    const DeviceMatrix<float> once(backend(), owned.size(), n);
    for (float& value : rows) value /= static_cast<float>(rank() + 1);
    once.Write(RowsOf(rows, owned, n));
    for (float& value : rows) value *= static_cast<float>(rank() + 1);
    Round(format, once);
    std::vector<float> want = once.Read();
    for (float& value : want) value += 2 * value;
    ASSERT_EQ(Different(got, want), 0);
  }
}

TEST_F(PeerExchangeTest, GatherCodes) {
  uint32_t seed = 1;
  for (const bool int4 : {true, false}) {
    for (const int64_t n : {128, 384, 2560}) {
      for (const int64_t tokens : {17, 40, 333})
        ASSERT_NO_FATAL_FAILURE(CheckGatherCodes(int4, tokens, n, ++seed));
    }
    ASSERT_NO_FATAL_FAILURE(CheckGatherCodes(int4, 2000, 2560, ++seed));
  }
}

TEST_F(PeerExchangeTest, ReduceAdd) {
  uint32_t seed = 1;
  for (const int64_t n : {32, 160, 2560, 8192}) {
    for (const int64_t tokens : {1, 5, 16})
      ASSERT_NO_FATAL_FAILURE(CheckReduceAdd(false, false, tokens, n, ++seed));
  }
}

TEST_F(PeerExchangeTest, ReduceAddNormQuantize) {
  uint32_t seed = 1;
  for (const bool int4 : {true, false}) {
    for (const int64_t n : {32, 160, 512, 2560, 4096, 5120, 8192}) {
      for (const int64_t tokens : {1, 5, 16})
        ASSERT_NO_FATAL_FAILURE(CheckReduceAdd(true, int4, tokens, n, ++seed));
    }
  }
}

TEST_F(PeerExchangeTest, SubNormQuantize) {
  uint32_t seed = 1;
  for (const int64_t n : {512, 2592, 4096, 8192, 28672}) {
    for (const int64_t tokens : {1, 7, 16}) {
      if (tokens * n > 2 * kFewTokens * kWidth) continue;
      for (const int segment : {16, 32}) {
        for (const int64_t keep : {n / 2, n})
          ASSERT_NO_FATAL_FAILURE(CheckSubNormQuantize(tokens, n, segment, keep, ++seed));
      }
    }
  }
}

TEST_F(PeerExchangeTest, QuantizeShare) {
  for (const int64_t n : {256, 3456, 14336}) {
    for (const int64_t tokens : {3, 300}) {
      const std::vector<float> rows = Floats(0, tokens, n, 3);
      const DeviceMatrix<float> weight(backend(), 1, n, RandomFloats(n, 4));
      const DeviceMatrix<float> x(backend(), tokens, n, rows), plain(backend(), tokens, n, rows);
      const DeviceMatrix<float> segments(backend(), tokens, n / 32), absmax(backend(), 1, tokens);
      const DeviceMatrix<float> squares(backend(), 1, tokens), want_squares(backend(), 1, tokens);
      const DeviceMatrix<int8_t> codes(backend(), tokens, n), want_codes(backend(), tokens, n);
      const DeviceMatrix<float> scales(backend(), 1, tokens), want_scales(backend(), 1, tokens);
      backend().SumSquares(plain, 32, segments);
      backend().RowSums(segments, want_squares);
      backend().ScaleColumns(plain, weight, plain);
      backend().RowAbsMax(plain, absmax);
      backend().QuantizeInt8(plain, absmax, 1e-30f, {want_codes, want_scales});
      ASSERT_TRUE(peers_->QuantizeShare({weight, 32, 0, n * size()}, std::vector<int64_t>(size(), n), 1e-30f,
                                        x, squares, {codes, scales}));
      EXPECT_EQ(Different(squares.Read(), want_squares.Read()), 0);
      EXPECT_EQ(Different(codes.Read(), want_codes.Read()), 0);
      EXPECT_EQ(Different(scales.Read(), want_scales.Read()), 0);
    }
  }
}

// Of rows that are spread over the ranks the largest stay.
TEST_F(PeerExchangeTest, QuantizeLargestShare) {
  uint32_t seed = 50;
  for (const int64_t n : {256, 3456, 4096}) {
    for (const int64_t tokens : {1, 3, 300}) {
      const int64_t width = n * size();
      const std::vector<float> rows = RandomFloats(tokens * width, ++seed);
      std::vector<float> own;
      for (int64_t t = 0; t < tokens; ++t) {
        const auto begin = rows.begin() + t * width + rank() * n;
        own.insert(own.end(), begin, begin + n);
      }
      const std::vector<float> weights = RandomFloats(width, seed + 100);
      const DeviceMatrix<float> weight(backend(), 1, width, weights);
      const DeviceMatrix<float> own_weight(backend(), 1, n, RowsOf(weights, {rank(), rank() + 1}, n));
      const DeviceMatrix<float> whole(backend(), tokens, width, rows), x(backend(), tokens, n, own);
      const DeviceMatrix<float> plain(backend(), tokens, n, own), threshold(backend(), 1, tokens);
      const DeviceMatrix<float> segments(backend(), tokens, n / 32), absmax(backend(), 1, tokens);
      const DeviceMatrix<float> squares(backend(), 1, tokens), want_squares(backend(), 1, tokens);
      const DeviceMatrix<int8_t> codes(backend(), tokens, n), want_codes(backend(), tokens, n);
      const DeviceMatrix<float> scales(backend(), 1, tokens), want_scales(backend(), 1, tokens);
      backend().ScaleColumns(whole, weight, whole);
      backend().KthMagnitude(whole, width / 2, threshold);
      backend().SumSquares(plain, 32, segments);
      backend().RowSums(segments, want_squares);
      backend().ScaleColumns(plain, own_weight, plain);
      backend().ZeroBelow(threshold, plain);
      backend().RowAbsMax(plain, absmax);
      backend().QuantizeInt8(plain, absmax, 1e-30f, {want_codes, want_scales});
      Wander();
      ASSERT_TRUE(peers_->QuantizeShare({own_weight, 32, 0, width / 2}, std::vector<int64_t>(size(), n),
                                        1e-30f, x, squares, {codes, scales}));
      EXPECT_EQ(Different(squares.Read(), want_squares.Read()), 0);
      EXPECT_EQ(Different(codes.Read(), want_codes.Read()), 0) << tokens << " x " << n;
      EXPECT_EQ(Different(scales.Read(), want_scales.Read()), 0);
      TestSession().AllGatherStrings("");  // as another exchange would
    }
  }
}

// The first run is plain, the second is recorded, the others repeat it; two exchanges of a kind in each.
TEST_F(PeerExchangeTest, ExchangesMayBeRecorded) {
  constexpr int64_t kTokens = 16, kChannels = 2560;
  const DeviceMatrix<float> x(backend(), kTokens, kChannels), sum(backend(), kTokens, kChannels);
  const DeviceMatrix<int32_t> partial(backend(), kTokens, kChannels);
  const DeviceMatrix<float> ones(backend(), 1, kChannels, std::vector<float>(kChannels, 1.0f));
  const DeviceMatrix<float> residual(backend(), kTokens, kChannels);
  const TensorView<const float> row_ones(ones.view().data(), 1, kTokens);
  for (int run = 0; run < 40; ++run) {
    x.Write(std::vector<float>(kTokens * kChannels, static_cast<float>(127 * (run + rank()))));
    partial.Write(std::vector<int32_t>(kTokens * kChannels, run + rank()));
    residual.Write(std::vector<float>(kTokens * kChannels, 0.0f));
    Wander();
    const auto ran = backend().Replay(1, [&]() -> absl::Status {
      for (int i = 0; i < 2; ++i) {
        if (!ranks_->ReduceLossy(WireFormat::kInt8, x, nullptr, sum, nullptr).ok())
          return absl::UnknownError("");
        peers_->ReduceAdd(partial, row_ones, ones, residual);
      }
      return absl::OkStatus();
    });
    ASSERT_TRUE(ran.ok());
    const int all = run * size() + size() * (size() - 1) / 2;
    ASSERT_EQ(Different(sum.Read(), std::vector<float>(kTokens * kChannels, static_cast<float>(127 * all))),
              0)
        << run;
    ASSERT_EQ(
        Different(residual.Read(), std::vector<float>(kTokens * kChannels, static_cast<float>(2 * all))), 0)
        << run;
  }
  EXPECT_TRUE(ranks_->Health().ok());
}

// Ends by the clock, and says so. Rank 0 alone calls.
TEST_F(PeerExchangeTest, APeerThatDoesNotAnswerEndsTheWait) {
  const DeviceMatrix<float> x(backend(), 100, 512), sum(backend(), ranks_->OwnedRows(100).size(), 512);
  if (rank() == 0) {
    const auto begin = std::chrono::steady_clock::now();
    ASSERT_TRUE(ranks_->ReduceLossy(WireFormat::kInt4, x, nullptr, sum, nullptr).ok());
    backend().Synchronize();
    EXPECT_GE(std::chrono::steady_clock::now() - begin, std::chrono::seconds(kPeerPatienceSeconds));
    EXPECT_EQ(ranks_->Health().code(), absl::StatusCode::kUnavailable);
  }
}

}  // namespace
}  // namespace ternion
