#include <algorithm>
#include <cmath>
#include <utility>

#include "tests/support/backends.h"

namespace ternion {
namespace {

class HeadTest : public BackendTest {
 protected:
  static std::vector<float> Logits(Backend& on, const std::vector<float>& x,
                                   const std::vector<BFloat16>& table, int64_t h) {
    const int64_t tokens = x.size() / h, vocab = table.size() / h;
    DeviceMatrix<float> logits(on, tokens, vocab);
    on.Head(DeviceMatrix<float>(on, tokens, h, x), DeviceMatrix<BFloat16>(on, vocab, h, table), logits);
    return logits.Read();
  }
};
INSTANTIATE_BACKEND_TEST(HeadTest);

float ReferenceLogit(const float* x, const BFloat16* word, int64_t h) {
  std::vector<float> partial(16);
  for (int64_t i = 0; i < h; ++i) partial[i % 16] += x[i] * Widen(word[i]);
  return HalvingSum(partial);
}

TEST_P(HeadTest, SumsInTheGivenOrder) {
  if (GetParam().family != "cpu") GTEST_SKIP() << "the order of the CPU";
  for (int64_t h : {16, 48, 512}) {
    const int64_t vocab = 67, tokens = 13;
    const std::vector<float> x = RandomFloats(tokens * h, 1);
    const std::vector<BFloat16> table = RandomBf16(vocab * h, 2);
    std::vector<float> want;
    for (int64_t i = 0; i < tokens * vocab; ++i) {
      want.push_back(ReferenceLogit(&x[i / vocab * h], &table[i % vocab * h], h));
    }
    ExpectClose(Logits(backend(), x, table, h), want, tolerance());
  }
}

TEST_P(HeadTest, IsADotProduct) {
  for (int64_t h : {16, 48, 528, 1040, 2560}) {
    const int64_t vocab = 300, tokens = 3;
    const std::vector<float> x = RandomFloats(tokens * h, 3);
    const std::vector<BFloat16> table = RandomBf16(vocab * h, 4);
    const std::vector<float> got = Logits(backend(), x, table, h);
    for (int64_t i = 0; i < tokens * vocab; ++i) {
      double want = 0, size = 0;
      for (int64_t c = 0; c < h; ++c) {
        const double product = double{x[i / vocab * h + c]} * Widen(table[i % vocab * h + c]);
        want += product;
        size += std::abs(product);
      }
      ASSERT_NEAR(got[i], want, 2e-6 * size) << h << " channels, logit " << i;
    }
  }
}

TEST_P(HeadTest, BitsDoNotDependOnBatchOrShard) {
  const int64_t h = 528, vocab = 531, tokens = 70;
  const std::vector<float> x = RandomFloats(tokens * h, 5);
  const std::vector<BFloat16> table = RandomBf16(vocab * h, 6);
  const std::vector<float> all = Logits(backend(), x, table, h);
  EXPECT_TRUE(SameBits(all, Logits(reference(), x, table, h)));
  for (int64_t rows : {5, 13, 16, 19, 33}) {
    const std::vector<float> some = Logits(backend(), {x.begin(), x.begin() + rows * h}, table, h);
    EXPECT_TRUE(SameBits(some, {all.begin(), all.begin() + rows * vocab})) << rows << " rows";
  }
  for (int64_t begin : {0, 3, 300}) {
    const std::vector<BFloat16> shard(table.begin() + begin * h, table.begin() + (begin + 231) * h);
    for (int64_t t = 0; t < tokens; t += 7) {
      const std::vector<float> one =
          Logits(backend(), {x.begin() + t * h, x.begin() + (t + 1) * h}, shard, h);
      const auto at = all.begin() + t * vocab + begin;
      ASSERT_TRUE(SameBits(one, std::vector<float>(at, at + 231)));
    }
  }
}

class ArgMaxTest : public BackendTest {
 protected:
  static std::vector<int32_t> Ids(Backend& on, int64_t rows, const std::vector<float>& logits) {
    DeviceMatrix<int32_t> ids(on, 1, rows);
    on.ArgMax(DeviceMatrix<float>(on, rows, logits.size() / rows, logits), ids);
    return ids.Read();
  }
};
INSTANTIATE_BACKEND_TEST(ArgMaxTest);

TEST_P(ArgMaxTest, IsTheLargest) {
  for (int64_t vocab : {1, 7, 33, 1000, 128256}) {
    const int64_t rows = vocab > 1000 ? 2 : 64;
    const std::vector<float> logits = RandomFloats(rows * vocab, 8);
    std::vector<int32_t> want;
    for (int64_t t = 0; t < rows; ++t) {
      const auto row = logits.begin() + t * vocab;
      want.push_back(static_cast<int32_t>(std::max_element(row, row + vocab) - row));
    }
    EXPECT_EQ(Ids(backend(), rows, logits), want) << vocab;
  }
}

TEST_P(ArgMaxTest, IsTheLowestOfEquals) {
  for (const auto& [first, second] : {std::pair{0, 1}, {31, 32}, {5, 4999}, {300, 301}, {4000, 4999}}) {
    std::vector<float> logits(5000, -3.0f);
    logits[first] = logits[second] = 2.0f;
    EXPECT_EQ(Ids(backend(), 1, logits), std::vector<int32_t>{first});
  }
  EXPECT_EQ(Ids(backend(), 1, std::vector<float>(5000, -INFINITY)), std::vector<int32_t>{0});
}

}  // namespace
}  // namespace ternion
