#include "tests/support/exchange_cases.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <numeric>

#include "tests/support/backends.h"
#include "tests/support/test_matrix.h"

namespace ternion {
namespace {

constexpr int64_t kMostTokens = 100;
constexpr int64_t kMostChannels = 300;
constexpr int64_t kChannels = 150;  // more than one group of each wire format, the last one short

// A number that looks random and depends on where it stands: the same on every rank.
uint32_t Noise(int64_t rank, int64_t row, int64_t col) {
  uint64_t x = static_cast<uint64_t>(rank + 1) * 0x9E3779B97F4A7C15u +
               static_cast<uint64_t>(row) * 0xC2B2AE3D27D4EB4Fu +
               static_cast<uint64_t>(col) * 0x165667B19E3779F9u;
  x = (x ^ (x >> 29)) * 0xBF58476D1CE4E5B9u;
  return static_cast<uint32_t>(x >> 32);
}

// Rows of ordinary, tiny and huge numbers in turn.
float Activation(int64_t rank, int64_t row, int64_t col) {
  constexpr float kMagnitudes[] = {1.0f, 1e-6f, 1e9f};
  const float unit = static_cast<float>(Noise(rank, row, col)) / 2147483648.0f - 1.0f;
  return unit * kMagnitudes[row % 3];
}

TestMatrix<float> Activations(int64_t rank, int64_t rows, int64_t cols) {
  TestMatrix<float> x(rows, cols);
  for (int64_t t = 0; t < rows; ++t) {
    for (int64_t i = 0; i < cols; ++i) x.at(t, i) = Activation(rank, t, i);
  }
  return x;
}

TestMatrix<int32_t> Sums(int64_t rank, int64_t rows, int64_t cols) {
  TestMatrix<int32_t> x(rows, cols);
  for (int64_t t = 0; t < rows; ++t) {
    for (int64_t i = 0; i < cols; ++i) x.at(t, i) = static_cast<int32_t>(Noise(rank, t, i)) / 16;
  }
  return x;
}

TestMatrix<int8_t> Codes(int64_t rows, int64_t cols) {
  TestMatrix<int8_t> x(rows, cols);
  for (int64_t t = 0; t < rows; ++t) {
    for (int64_t i = 0; i < cols; ++i) x.at(t, i) = static_cast<int8_t>(Noise(0, t, i) % 16) - 8;
  }
  return x;
}

// To a rank's memory and back.
template <typename T>
DeviceMatrix<T> On(ExchangeRank& rank, const TestMatrix<T>& x) {
  return {rank.backend, x.rows, x.cols, x.values};
}
template <typename T>
DeviceMatrix<T> Room(ExchangeRank& rank, int64_t rows, int64_t cols) {
  return {rank.backend, rows, cols};
}
template <typename T>
TestMatrix<T> Back(const DeviceMatrix<T>& x) {
  TestMatrix<T> host(x.view().rows(), x.view().cols());
  host.values = x.Read();
  return host;
}

// What the other side of a wire makes of x.
TestMatrix<float> ThroughWire(ExchangeRank& rank, WireFormat format, const TestMatrix<float>& x) {
  if (format == WireFormat::kExact) return x;
  const DeviceMatrix<float> rows = On(rank, x);
  const auto wire = Room<uint8_t>(rank, x.rows, WireRowBytes(format, x.cols));
  if (format == WireFormat::kInt8) {
    rank.backend.EncodeInt8(rows, wire);
    rank.backend.DecodeInt8(wire, false, rows);
  } else {
    rank.backend.EncodeInt4(rows, wire);
    rank.backend.DecodeInt4(wire, false, rows);
  }
  return Back(rows);
}

// Uneven on purpose; rank 1 has none.
std::vector<int64_t> UnevenColumns(int tp, int64_t widest) {
  std::vector<int64_t> columns;
  for (int r = 0; r < tp; ++r) columns.push_back(r == 1 ? 0 : widest - (r * 5) % 7);
  return columns;
}

// All ranks' columns side by side.
TestMatrix<float> WholeRows(int64_t tokens, const std::vector<int64_t>& columns) {
  TestMatrix<float> whole(tokens, std::accumulate(columns.begin(), columns.end(), int64_t{0}));
  int64_t offset = 0;
  for (size_t r = 0; r < columns.size(); ++r) {
    for (int64_t t = 0; t < tokens; ++t) {
      for (int64_t i = 0; i < columns[r]; ++i) whole.at(t, offset + i) = Activation(r, t, i);
    }
    offset += columns[r];
  }
  return whole;
}

// Each share is off by half a step at most, whatever the row's magnitude.
void CheckLossyError(WireFormat format, int ranks, Range rows, const TestMatrix<float>& got) {
  const double half_step =
      format == WireFormat::kInt8 ? 0.51 / 127 : 0.51 * 2 / 15;  // of the largest magnitude
  for (int64_t t = 0; t < got.rows; ++t) {
    std::vector<double> exact(got.cols, 0.0);
    double bound = 0;
    for (int r = 0; r < ranks; ++r) {
      float most = 0;
      for (int64_t i = 0; i < got.cols; ++i) {
        exact[i] += Activation(r, rows.begin + t, i);
        most = std::max(most, std::abs(Activation(r, rows.begin + t, i)));
      }
      bound += most * half_step;
    }
    for (int64_t i = 0; i < got.cols; ++i)
      ASSERT_NEAR(got.at(t, i), exact[i], bound) << "row " << rows.begin + t;
  }
}

std::unique_ptr<TensorParallel> MakeExchange(ExchangeRank& rank, int64_t one_shot_tokens) {
  auto made = TensorParallel::Create(&rank.backend, &rank.group, &rank.bytes, kMostTokens, kMostChannels,
                                     one_shot_tokens);
  CHECK(made.ok(), "the test's buffers fit in memory");
  return *std::move(made);
}

}  // namespace

ExchangeRank::ExchangeRank(Communicator& ranks, int64_t one_shot_tokens)
    : group(ranks),
      own_backend(MakeCpuBackend(1)),
      backend(*own_backend),
      exchange(MakeExchange(*this, one_shot_tokens)) {}

ExchangeRank::ExchangeRank(Communicator& ranks, int64_t one_shot_tokens, Backend& on)
    : group(ranks), backend(on), exchange(MakeExchange(*this, one_shot_tokens)) {}

std::vector<int64_t> StepSizes(int tp) {
  std::vector<int64_t> sizes;
  for (int64_t tokens = 1; tokens <= 2 * tp + 1; ++tokens) sizes.push_back(tokens);
  for (const int64_t tokens : {17, 40, 100}) sizes.push_back(tokens);
  return sizes;
}

void CheckReduceExact(ExchangeRank& rank, int64_t tokens) {
  TestMatrix<int32_t> want(tokens, kChannels);
  for (int r = 0; r < rank.group.size(); ++r) {
    const TestMatrix<int32_t> part = Sums(r, tokens, kChannels);
    for (size_t i = 0; i < part.values.size(); ++i) want.values[i] += part.values[i];
  }
  const Range owned = rank.exchange->OwnedRows(tokens);
  const auto mine = On(rank, Sums(rank.group.rank(), tokens, kChannels));
  const auto got = Room<int32_t>(rank, owned.size(), kChannels);
  ASSERT_TRUE(rank.exchange->ReduceExact(mine, got).ok());
  EXPECT_TRUE(Back(got).SameBits(want.Rows(owned.begin, owned.end)))
      << tokens << " tokens, rank " << rank.group.rank();
}

void CheckReduceFloats(ExchangeRank& rank, int64_t tokens) {
  TestMatrix<float> want = Activations(0, tokens, kChannels);
  for (int r = 1; r < rank.group.size(); ++r) {
    const TestMatrix<float> part = Activations(r, tokens, kChannels);
    for (size_t i = 0; i < part.values.size(); ++i) want.values[i] += part.values[i];
  }
  const Range owned = rank.exchange->OwnedRows(tokens);
  const auto mine = On(rank, Activations(rank.group.rank(), tokens, kChannels));
  const auto got = Room<float>(rank, owned.size(), kChannels);
  ASSERT_TRUE(rank.exchange->ReduceFloats(mine, got).ok());
  EXPECT_TRUE(Back(got).SameBits(want.Rows(owned.begin, owned.end)))
      << tokens << " tokens, rank " << rank.group.rank();
}

void CheckReduceLossy(ExchangeRank& rank, WireFormat format, bool with_extra, int64_t tokens) {
  const int ranks = rank.group.size();
  TestMatrix<float> want(tokens, kChannels);
  TestMatrix<float> want_extra(1, tokens);
  for (int r = 0; r < ranks; ++r) {
    const TestMatrix<float> share = ThroughWire(rank, format, Activations(r, tokens, kChannels));
    for (size_t i = 0; i < share.values.size(); ++i) {
      want.values[i] = r == 0 ? share.values[i] : want.values[i] + share.values[i];
    }
    for (int64_t t = 0; t < tokens; ++t) {
      want_extra.at(0, t) = r == 0 ? Activation(r, t, -1) : want_extra.at(0, t) + Activation(r, t, -1);
    }
  }
  const Range owned = rank.exchange->OwnedRows(tokens);
  TestMatrix<float> extra_values(1, tokens);
  for (int64_t t = 0; t < tokens; ++t) extra_values.at(0, t) = Activation(rank.group.rank(), t, -1);
  const auto mine = On(rank, Activations(rank.group.rank(), tokens, kChannels));
  const auto extra = On(rank, extra_values);
  const auto sum = Room<float>(rank, owned.size(), kChannels);
  const auto extra_sum = Room<float>(rank, 1, owned.size());
  ASSERT_TRUE(rank.exchange
                  ->ReduceLossy(format, mine, with_extra ? extra.view().data() : nullptr, sum,
                                with_extra ? extra_sum.view().data() : nullptr)
                  .ok());
  const TestMatrix<float> got = Back(sum);
  const TestMatrix<float> got_extra = Back(extra_sum);
  EXPECT_TRUE(got.SameBits(want.Rows(owned.begin, owned.end)))
      << WireFormatName(format) << ", " << tokens << " tokens, rank " << rank.group.rank();
  for (int64_t t = 0; with_extra && t < owned.size(); ++t) {
    EXPECT_EQ(got_extra.at(0, t), want_extra.at(0, owned.begin + t));
  }
  CheckLossyError(format, ranks, owned, got);
}

void CheckGatherCodes(ExchangeRank& rank, bool int4, int64_t tokens) {
  const Range owned = rank.exchange->OwnedRows(tokens);
  const TestMatrix<int8_t> codes = Codes(tokens, kChannels);
  const TestMatrix<float> scales = Activations(0, 1, tokens);
  TestMatrix<float> scales_of_mine(1, owned.size());
  std::copy_n(scales.values.begin() + owned.begin, owned.size(), scales_of_mine.values.begin());
  const auto my_codes = On(rank, codes.Rows(owned.begin, owned.end));
  const auto my_scales = On(rank, scales_of_mine);
  const auto got_codes = Room<int8_t>(rank, tokens, kChannels);
  const auto got_scales = Room<float>(rank, 1, tokens);
  ASSERT_TRUE(rank.exchange->GatherCodes(int4, {my_codes, my_scales}, {got_codes, got_scales}).ok());
  EXPECT_TRUE(Back(got_codes).SameBits(codes)) << tokens << " tokens, rank " << rank.group.rank();
  EXPECT_TRUE(Back(got_scales).SameBits(scales)) << tokens << " tokens, rank " << rank.group.rank();
}

void CheckGatherFloats(ExchangeRank& rank, int64_t tokens) {
  const Range owned = rank.exchange->OwnedRows(tokens);
  const TestMatrix<float> want = Activations(0, tokens, kChannels);
  const auto mine = On(rank, want.Rows(owned.begin, owned.end));
  const auto got = Room<float>(rank, tokens, kChannels);
  ASSERT_TRUE(rank.exchange->GatherFloats(mine, got).ok());
  EXPECT_TRUE(Back(got).SameBits(want)) << tokens << " tokens, rank " << rank.group.rank();
  // Rows that are made where they belong.
  const auto in_place = Room<float>(rank, tokens, kChannels);
  const TensorView<float> part = in_place.view().Rows(owned.begin, owned.end);
  rank.backend.Copy(part.data(), mine.view().data(), part.bytes());
  ASSERT_TRUE(rank.exchange->GatherFloats(part, in_place).ok());
  EXPECT_TRUE(Back(in_place).SameBits(want)) << tokens << " tokens, rank " << rank.group.rank();
}

void CheckGatherColumns(ExchangeRank& rank, int64_t tokens, int64_t widest) {
  const std::vector<int64_t> columns = UnevenColumns(rank.group.size(), widest);
  const TestMatrix<float> want = WholeRows(tokens, columns);
  const auto mine = On(rank, Activations(rank.group.rank(), tokens, columns[rank.group.rank()]));
  const auto got = Room<float>(rank, tokens, want.cols);
  ASSERT_TRUE(rank.exchange->GatherColumns(mine, columns, got).ok());
  EXPECT_TRUE(Back(got).SameBits(want)) << tokens << " tokens, rank " << rank.group.rank();
}

void CheckMaxOverRanks(ExchangeRank& rank, int64_t tokens) {
  TestMatrix<float> want = Activations(0, 1, tokens);
  for (int r = 1; r < rank.group.size(); ++r) {
    for (int64_t t = 0; t < tokens; ++t) want.at(0, t) = std::max(want.at(0, t), Activation(r, 0, t));
  }
  const auto got = On(rank, Activations(rank.group.rank(), 1, tokens));
  ASSERT_TRUE(rank.exchange->MaxOverRanks(got).ok());
  EXPECT_TRUE(Back(got).SameBits(want)) << tokens << " tokens, rank " << rank.group.rank();
}

void CheckKthMagnitude(ExchangeRank& rank, int64_t tokens, int64_t widest) {
  const std::vector<int64_t> columns = UnevenColumns(rank.group.size(), widest);
  TestMatrix<float> whole = WholeRows(tokens, columns);
  for (float& value : whole.values) value = std::abs(value);
  const auto mine = On(rank, Activations(rank.group.rank(), tokens, columns[rank.group.rank()]));
  for (int64_t t = 0; t < tokens; ++t) {
    std::sort(&whole.at(t, 0), &whole.at(t, 0) + whole.cols, std::greater<>());
  }
  for (const int64_t k : {int64_t{1}, whole.cols / 2, whole.cols}) {
    const auto threshold = Room<float>(rank, 1, tokens);
    ASSERT_TRUE(rank.exchange->KthMagnitude(mine, columns, k, threshold).ok());
    const TestMatrix<float> got = Back(threshold);
    for (int64_t t = 0; t < tokens; ++t) {
      ASSERT_EQ(got.at(0, t), whole.at(t, k - 1)) << "row " << t << " of " << tokens << ", k " << k;
    }
  }
}

void CheckEmbedRows(ExchangeRank& rank, int64_t tokens) {
  constexpr int64_t kVocab = 5 * 256 + 100;  // six units: some of eight ranks own none
  constexpr int64_t kHidden = 24;
  const auto value = [](int64_t id, int64_t i) { return static_cast<uint16_t>(Noise(9, id, i) & 0xBFFF); };
  const Range part = SplitEvenly(kVocab, 256, rank.group.size(), rank.group.rank());
  TestMatrix<BFloat16> table(part.size(), kHidden);
  for (int64_t row = 0; row < part.size(); ++row) {
    for (int64_t i = 0; i < kHidden; ++i) table.at(row, i).bits = value(part.begin + row, i);
  }
  std::vector<int32_t> ids;
  for (int64_t t = 0; t < tokens; ++t) ids.push_back(static_cast<int32_t>(Noise(7, t, tokens) % kVocab));
  const Range owned = rank.exchange->OwnedRows(tokens);
  const auto mine = On(rank, table);
  const auto got = Room<float>(rank, owned.size(), kHidden);
  ASSERT_TRUE(rank.exchange->EmbedRows(mine, kVocab, ids, {}, got).ok());
  TestMatrix<float> want(owned.size(), kHidden);
  for (int64_t t = 0; t < owned.size(); ++t) {
    for (int64_t i = 0; i < kHidden; ++i) {
      const uint32_t bits = static_cast<uint32_t>(value(ids[owned.begin + t], i)) << 16;
      std::memcpy(&want.at(t, i), &bits, sizeof(bits));
    }
  }
  EXPECT_TRUE(Back(got).SameBits(want)) << tokens << " tokens, rank " << rank.group.rank();
}

void CheckGatherRows(ExchangeRank& rank, int64_t tokens) {
  const Range owned = rank.exchange->OwnedRows(tokens);
  const TestMatrix<float> want = Activations(5, tokens, kChannels);
  std::vector<int32_t> every(tokens);
  std::iota(every.begin(), every.end(), 0);
  EXPECT_EQ(static_cast<int64_t>(rank.exchange->OwnedOf(tokens, every).size()), owned.size());
  const auto mine = On(rank, want.Rows(owned.begin, owned.end));
  const auto got = Room<float>(rank, tokens, kChannels);
  ASSERT_TRUE(rank.exchange->GatherRows(tokens, every, mine, got).ok());
  EXPECT_TRUE(Back(got).SameBits(want)) << tokens << " tokens, rank " << rank.group.rank();
  // The last one alone, of whose owners the others own nothing.
  const std::vector<int32_t> last = {static_cast<int32_t>(tokens - 1)};
  const std::vector<int32_t> own = rank.exchange->OwnedOf(tokens, last);
  const int64_t first = own.empty() ? 0 : owned.begin + own.front();
  const auto mine_of_last = On(rank, want.Rows(first, first + static_cast<int64_t>(own.size())));
  const auto got_last = Room<float>(rank, 1, kChannels);
  ASSERT_TRUE(rank.exchange->GatherRows(tokens, last, mine_of_last, got_last).ok());
  EXPECT_TRUE(Back(got_last).SameBits(want.Rows(tokens - 1, tokens))) << tokens << " tokens";
}

void CheckExchanges(ExchangeRank& rank, int64_t tokens) {
  CheckReduceExact(rank, tokens);
  CheckGatherFloats(rank, tokens);
  if (rank.group.size() > 1) {
    CheckReduceFloats(rank, tokens);
    CheckReduceLossy(rank, WireFormat::kInt8, true, tokens);
    CheckReduceLossy(rank, WireFormat::kInt4, false, tokens);
  }
  CheckGatherCodes(rank, true, tokens);
  CheckGatherCodes(rank, false, tokens);
  CheckGatherColumns(rank, tokens, 20);
  CheckMaxOverRanks(rank, tokens);
  CheckKthMagnitude(rank, tokens, 20);
  CheckEmbedRows(rank, tokens);
  CheckGatherRows(rank, tokens);
}

void CheckPipeline(ExchangeRank& rank, Communicator& column, WireFormat format) {
  auto link = PipelineLink::Create(&rank.backend, &column, &rank.group, rank.exchange.get(), &rank.bytes,
                                   format, kMostTokens, kChannels);
  ASSERT_TRUE(link.ok());
  for (const int64_t tokens : StepSizes(rank.group.size())) {
    TestMatrix<float> want = Activations(3, tokens, kChannels);
    for (int s = 0; s < column.rank(); ++s) want = ThroughWire(rank, format, want);
    const Range owned = rank.exchange->OwnedRows(tokens);
    const TestMatrix<float> mine = want.Rows(owned.begin, owned.end);
    const auto x = column.rank() > 0 ? Room<float>(rank, owned.size(), kChannels) : On(rank, mine);
    if (column.rank() > 0) {
      ASSERT_TRUE((*link)->Recv(tokens, x).ok());
      ASSERT_TRUE(Back(x).SameBits(mine))
          << WireFormatName(format) << ", " << tokens << " tokens, stage " << column.rank();
    }
    if (column.rank() + 1 == column.size()) continue;
    ASSERT_TRUE((*link)->Send(tokens, x).ok());
  }
}

}  // namespace ternion
