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

// What stands in the cache and in the queries' columns after one operation or two.
struct Written {
  std::vector<uint8_t> cache;
  std::vector<float> queries;
};

Written RotateAndWrite(Backend& backend, const HeadShard& heads, int64_t tokens, bool at_once) {
  constexpr int64_t kPositions = 300, kBlocks = 5;
  const int64_t dim = heads.head_dim, width = (heads.query_heads + 2 * heads.kv_heads) * dim;
  const DeviceMatrix<float> qkv(backend, tokens, width, RandomFloats(tokens * width, 5));
  const DeviceMatrix<float> table(backend, kPositions, dim, RandomFloats(kPositions * dim, 6));
  const int64_t bytes = kBlocks * heads.kv_heads * 2 * dim * kKvBlockTokens * 2;
  const DeviceMatrix<uint8_t> memory(backend, 1, bytes);
  const KvLayer cache{memory.view().data(), KvFormat::kF16, kBlocks, heads.kv_heads, heads.head_dim};
  const std::vector<int32_t> first = {3, 1, 4}, second = {0, 2};
  const std::vector<KvSlice> slices = {{0, tokens - 2, 60, first}, {tokens - 2, 2, 63, second}};
  const KvSlices uploaded = backend.UploadSlices(slices);
  if (at_once) {
    backend.RopeWriteKv(qkv, heads, table, uploaded, cache);
  } else {
    backend.Rope(qkv, 0, heads.query_heads + heads.kv_heads, heads.head_dim, table, uploaded);
    backend.WriteKv(qkv, heads, uploaded, cache);
  }
  Written written{memory.Read(), {}};
  const std::vector<float> all = qkv.Read();
  for (int64_t t = 0; t < tokens; ++t) {
    written.queries.insert(written.queries.end(), all.begin() + t * width,
                           all.begin() + t * width + heads.query_heads * dim);
  }
  return written;
}

TEST_P(WriteKvTest, TurnsAndWritesAtOnce) {
  for (const HeadShard& heads : {kHeads, HeadShard{0, 4, 0, 1, 4, 128}}) {
    for (int64_t tokens : {3, 64, 100}) {
      const Written once = RotateAndWrite(backend(), heads, tokens, true);
      const Written twice = RotateAndWrite(backend(), heads, tokens, false);
      EXPECT_TRUE(SameBits(once.cache, twice.cache)) << tokens << " tokens";
      EXPECT_TRUE(SameBits(once.queries, twice.queries)) << tokens << " tokens";
    }
  }
}

}  // namespace
}  // namespace ternion
