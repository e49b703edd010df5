#include <limits>
#include <random>

#include "tests/support/backends.h"

namespace ternion {
namespace {

constexpr float kForbidden = -std::numeric_limits<float>::infinity();

class MaskLogitsTest : public BackendTest {};
INSTANTIATE_BACKEND_TEST(MaskLogitsTest);

TEST_P(MaskLogitsTest, ForbidsWhatTheMaskLacksInItsRowAlone) {
  const DeviceMatrix<float> logits(backend(), 3, 3, {1, 2, 3, 4, 5, 6, 7, 8, 9});
  backend().MaskLogits(logits, {2, 0}, {0b101, 0b010});
  EXPECT_EQ(logits.Read(), (std::vector<float>{kForbidden, 2, kForbidden, 4, 5, 6, 7, kForbidden, 9}));
}

TEST_P(MaskLogitsTest, WithoutMasksNothingHappens) {
  const DeviceMatrix<float> logits(backend(), 1, 2, {1, 2});
  backend().MaskLogits(logits, {}, {});
  EXPECT_EQ(logits.Read(), (std::vector<float>{1, 2}));
}

// A vocabulary that ends inside a word, and more words than go with a launch.
TEST_P(MaskLogitsTest, MasksRowsOfARealVocabulary) {
  constexpr int64_t kRows = 40, kVocab = 33001;
  const std::vector<float> before = RandomFloats(kRows * kVocab, 3);
  std::mt19937 random(4);
  std::vector<int32_t> rows;
  for (int32_t row = 1; row < kRows; row += 2) rows.push_back(row);
  std::vector<uint32_t> words(rows.size() * MaskWords(kVocab));
  for (uint32_t& word : words) word = random();
  std::vector<float> want = before;
  for (size_t i = 0; i < rows.size(); ++i) {
    for (int64_t v = 0; v < kVocab; ++v) {
      const uint32_t word = words[i * MaskWords(kVocab) + v / 32];
      if ((word & uint32_t{1} << (v % 32)) == 0) want[rows[i] * kVocab + v] = kForbidden;
    }
  }
  const DeviceMatrix<float> logits(backend(), kRows, kVocab, before);
  backend().MaskLogits(logits, rows, words);
  EXPECT_TRUE(SameBits(logits.Read(), want));
}

}  // namespace
}  // namespace ternion
