#include <cmath>

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
  const int64_t h = 2560;
  const std::vector<float> x = RandomFloats(h, 3);
  const std::vector<BFloat16> table = RandomBf16(300 * h, 4);
  const std::vector<float> got = Logits(backend(), x, table, h);
  for (int64_t v = 0; v < 300; ++v) {
    double want = 0;
    for (int64_t i = 0; i < h; ++i) want += double{x[i]} * Widen(table[v * h + i]);
    ASSERT_NEAR(got[v], want, 1e-3);
  }
}

TEST_P(HeadTest, BitsDoNotDependOnBatchOrShard) {
  const int64_t h = 528, vocab = 531, tokens = 11;
  const std::vector<float> x = RandomFloats(tokens * h, 5);
  const std::vector<BFloat16> table = RandomBf16(vocab * h, 6);
  const std::vector<float> all = Logits(backend(), x, table, h);
  EXPECT_TRUE(SameBits(all, Logits(reference(), x, table, h)));
  for (int64_t begin : {0, 3, 300}) {
    const std::vector<BFloat16> shard(table.begin() + begin * h, table.begin() + (begin + 231) * h);
    for (int64_t t = 0; t < tokens; ++t) {
      const std::vector<float> one =
          Logits(backend(), {x.begin() + t * h, x.begin() + (t + 1) * h}, shard, h);
      const auto at = all.begin() + t * vocab + begin;
      ASSERT_TRUE(SameBits(one, std::vector<float>(at, at + 231)));
    }
  }
}

}  // namespace
}  // namespace ternion
