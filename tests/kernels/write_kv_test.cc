#include <algorithm>
#include <cmath>

#include "kernels/cpu/float_kernels.h"
#include "tests/support/attention_case.h"
#include "tests/support/kv_reference.h"

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

Written RotateAndWrite(Backend& backend, KvFormat format, const HeadShard& heads, int64_t tokens,
                       bool at_once) {
  constexpr int64_t kPositions = 300, kBlocks = 5;
  const int64_t dim = heads.head_dim, width = (heads.query_heads + 2 * heads.kv_heads) * dim;
  const DeviceMatrix<float> qkv(backend, tokens, width, RandomFloats(tokens * width, 5));
  const DeviceMatrix<float> table(backend, kPositions, dim, RandomFloats(kPositions * dim, 6));
  const int64_t bytes = kBlocks * heads.kv_heads * KvHeadBytes(format, dim);
  const DeviceMatrix<uint8_t> memory(backend, 1, bytes);
  const KvLayer cache{memory.view().data(), format, kBlocks, heads.kv_heads, heads.head_dim};
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
  struct Case {
    HeadShard heads;
    KvFormat format;
  };
  const HeadShard even = {0, 4, 0, 1, 4, 128};
  for (const auto& [heads, format] :
       {Case{kHeads, KvFormat::kF16}, Case{even, KvFormat::kF16}, Case{even, KvFormat::kInt8},
        Case{even, KvFormat::kInt3}, Case{even, KvFormat::kInt4G32}}) {
    for (int64_t tokens : {3, 64, 100}) {
      const Written once = RotateAndWrite(backend(), format, heads, tokens, true);
      const Written twice = RotateAndWrite(backend(), format, heads, tokens, false);
      EXPECT_TRUE(SameBits(once.cache, twice.cache)) << tokens << " tokens";
      EXPECT_TRUE(SameBits(once.queries, twice.queries)) << tokens << " tokens";
    }
  }
}

// Keys and queries of which every query sees its own position alone: the scores rise by so much that the others' weights
// are 0 and the result is the value, as the cache has it. Weights that are halves become 0 sooner.
void LookAtOneself(const BackendCase& device, AttentionCase* test) {
  const float rise = device.f32_kv ? 400.0f : 40.0f;
  const int64_t dim = test->heads().head_dim;
  const auto fill = [dim](float first, int64_t heads, float* x) {
    std::fill_n(x, heads * dim, 0.0f);
    for (int64_t head = 0; head < heads; ++head) x[head * dim] = first;
  };
  test->Change([&](int64_t position, float* queries, float* keys, float*) {
    fill(std::sqrt(static_cast<float>(dim)), test->heads().query_heads, queries);
    fill(rise * static_cast<float>(position), test->heads().kv_heads, keys);
  });
}

TEST_P(WriteKvTest, RoundsToCodes) {
  // Where the cache's numbers are halves, scores are scaled in base 2: the weight of so large a one is not quite 1. A code
  // more or less would be 1 / 127.
  const float rounding = GetParam().f32_kv ? 0.0f : 4e-3f;
  for (int dim : {16, 64, 80, 96, 128}) {
    for (KvFormat format : kPackedFormats) {
      AttentionCase test({0, 2, 0, 2, 1, dim}, format, {140});
      LookAtOneself(GetParam(), &test);
      test.Change([&](int64_t position, float*, float*, float* values) {
        constexpr float kSizes[] = {1, 0, 1e-30f, 1e-7f, 1e-4f, 3e3f, 7};
        constexpr float kShifts[] = {0, 0, 0, 0.5f, -100};
        for (int d = 0; d < 2 * dim; ++d)
          values[d] = values[d] * kSizes[position % 7] + kShifts[position % 5];
      });
      const std::vector<float> got = test.Run(backend(), {{{0, 0, 100}}, {{0, 100, 40}}})[0];
      for (int64_t position = 0; position < 140; ++position) {
        for (int head = 0; head < 2; ++head) {
          const float* value = &test.sequences()[0].qkv[position * test.width() + (4 + head) * dim];
          const std::vector<float> want = AsCached(format, !GetParam().f32_kv, position, value, dim);
          for (int d = 0; d < dim; ++d) {
            ASSERT_NEAR(got[position * test.out_width() + head * dim + d], want[d],
                        rounding * (std::abs(want[d]) + 1e-30f))
                << "format " << static_cast<int>(format) << ", position " << position << ", channel " << d;
          }
        }
      }
    }
  }
}

// Of this size a scale is the largest half.
TEST_P(WriteKvTest, HugeNumbersStayFinite) {
  if (!GetParam().f32_kv) GTEST_SKIP() << "the cache's numbers are halves";
  for (KvFormat format : kPackedFormats) {
    AttentionCase test({0, 1, 0, 1, 1, 64}, format, {3});
    LookAtOneself(GetParam(), &test);
    test.Change([](int64_t, float*, float*, float* values) {
      for (int d = 0; d < 64; ++d) values[d] *= 1e30f;
    });
    const std::vector<float> got = test.Run(backend(), test.OneStep())[0];
    for (int d = 0; d < 64; ++d) {
      const float* value = &test.sequences()[0].qkv[2 * 64];
      ASSERT_EQ(got[d], AsCached(format, false, 0, value, 64)[d]);
      ASSERT_TRUE(std::isfinite(got[d]));
    }
  }
}

// 100 tokens in two blocks of a cache, and what attention makes of them.
class TwoBlocks {
 public:
  TwoBlocks(Backend& backend, KvFormat format)
      : backend_(backend),
        block_bytes_(kHeads_.kv_heads * KvHeadBytes(format, kHeads_.head_dim)),
        memory_(backend, kBlocks, block_bytes_, std::vector<uint8_t>(kBlocks * block_bytes_, 0xff)),
        cache_{memory_.view().data(), format, kBlocks, kHeads_.kv_heads, kHeads_.head_dim} {}

  void Write(uint32_t seed) {
    const DeviceMatrix<float> qkv(backend_, kTokens, kWidth, RandomFloats(kTokens * kWidth, seed));
    const std::vector<KvSlice> slices = {{0, kTokens, 0, table_}};
    backend_.WriteKv(qkv, kHeads_, backend_.UploadSlices(slices), cache_);
    backend_.Synchronize();
  }
  std::vector<float> Attend() const {
    const DeviceMatrix<float> qkv(backend_, 1, kWidth, RandomFloats(kWidth, 99));
    const DeviceMatrix<float> out(backend_, 1, kHeads_.query_heads * kHeads_.head_dim);
    const std::vector<KvSlice> slices = {{0, 1, kTokens - 1, table_}};
    backend_.Attention(qkv, kHeads_, backend_.UploadSlices(slices), cache_, out);
    return out.Read();
  }
  void CopyTo(const std::vector<int32_t>& table) {
    for (size_t i = 0; i < table.size(); ++i) {
      backend_.Copy(memory_.view().row(table[i]), memory_.view().row(table_[i]), block_bytes_);
    }
    Use(table);
  }
  void Use(const std::vector<int32_t>& table) { table_ = table; }

 private:
  static constexpr HeadShard kHeads_ = {0, 4, 0, 2, 2, 96};
  static constexpr int64_t kBlocks = 5, kTokens = 100, kWidth = 8 * 96;

  Backend& backend_;
  int64_t block_bytes_;
  DeviceMatrix<uint8_t> memory_;
  KvLayer cache_;
  std::vector<int32_t> table_ = {1, 2};
};

TEST_P(WriteKvTest, SlotsMayBeWrittenAgain) {
  for (KvFormat format : kPackedFormats) {
    TwoBlocks fresh(backend(), format), used(backend(), format);
    fresh.Write(1);
    used.Use({2, 1});
    used.Write(2);
    used.Use({1, 2});
    used.Write(1);
    EXPECT_TRUE(SameBits(fresh.Attend(), used.Attend())) << "format " << static_cast<int>(format);
  }
}

TEST_P(WriteKvTest, CopiesOfBlocksAreTheSame) {
  for (KvFormat format : kPackedFormats) {
    TwoBlocks blocks(backend(), format);
    blocks.Write(1);
    const std::vector<float> before = blocks.Attend();
    blocks.CopyTo({4, 0});
    EXPECT_TRUE(SameBits(blocks.Attend(), before)) << "format " << static_cast<int>(format);
  }
}

}  // namespace
}  // namespace ternion
