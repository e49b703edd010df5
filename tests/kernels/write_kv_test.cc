#include <cmath>

#include "kernels/cpu/float_kernels.h"
#include "tests/support/attention_case.h"

namespace ternion {
namespace {

class WriteKvTest : public BackendTest {};
INSTANTIATE_BACKEND_TEST(WriteKvTest);

constexpr int kDim = 20, kKvHeads = 2, kQueryHeads = 6;
const HeadShard kHeads = {0, kQueryHeads, 0, kKvHeads, 3, kDim};

// The expected cache, element by element, as the layout in kernels/kv.h tells it. `unwritten`: all bits set.
template <typename T, typename Round>
std::vector<T> ExpectedCache(const AttentionCase& test, int64_t blocks, T unwritten, Round round) {
  std::vector<T> cache(blocks * kKvHeads * 2 * kDim * kKvBlockTokens, unwritten);
  for (const TestSequence& sequence : test.sequences()) {
    for (int64_t p = 0; p < sequence.tokens; ++p) {
      const int64_t block = sequence.blocks[p / kKvBlockTokens], slot = p % kKvBlockTokens;
      for (int i = 0; i < kKvHeads * kDim; ++i) {
        const int head = i / kDim, d = i % kDim;
        T* keys = &cache[(block * kKvHeads + head) * 2 * kDim * kKvBlockTokens];
        T* values = keys + kDim * kKvBlockTokens;
        const float* row = &sequence.qkv[p * test.width()];
        keys[d * kKvBlockTokens + slot] = round(row[kQueryHeads * kDim + i]);
        values[slot * kDim + d] = round(row[(kQueryHeads + kKvHeads) * kDim + i]);
      }
    }
  }
  return cache;
}

template <typename T>
std::vector<T> As(const std::vector<uint8_t>& bytes) {
  std::vector<T> values(bytes.size() / sizeof(T));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

const std::vector<std::vector<StepPart>> kSteps = {{{0, 0, 100}, {1, 0, 5}}, {{1, 5, 1}, {0, 100, 30}}};

TEST_P(WriteKvTest, StoresFloatsInTheirSlotsAndTouchesNothingElse) {
  if (!GetParam().f32_kv) GTEST_SKIP() << "the cache holds halves";
  const AttentionCase test(kHeads, KvFormat::kF32, {130, 6});
  const auto keep = [](float x) {
    uint32_t bits;
    std::memcpy(&bits, &x, sizeof(bits));
    return bits;
  };
  EXPECT_EQ(As<uint32_t>(test.CacheAfter(backend(), kSteps)), ExpectedCache<uint32_t>(test, 6, ~0u, keep));
}

TEST_P(WriteKvTest, RoundsToHalves) {
  AttentionCase test(kHeads, KvFormat::kF16, {130, 6});
  // Some become infinite, some subnormal or zero.
  test.Scale([](int64_t position) { return std::vector<float>{1, 5e4f, 1e-5f, 2e-8f}[position % 4]; });
  // half_test proves this conversion.
  const auto round = [](float x) {
    uint16_t half;
    cpu::KernelsFor(cpu::Isa::kPortable).half->narrow(&x, 1, &half);
    return half;
  };
  EXPECT_EQ(As<uint16_t>(test.CacheAfter(backend(), kSteps)),
            ExpectedCache<uint16_t>(test, 6, 0xffff, round));
}

}  // namespace
}  // namespace ternion
