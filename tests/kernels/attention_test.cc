#include <algorithm>
#include <cmath>

#include "tests/support/attention_case.h"
#include "tests/support/kv_reference.h"

#define TERNION_ISA attention_reference
#include "kernels/cpu/simd/exp.h"

namespace ternion {
namespace {

using cpu::attention_reference::Exp;

class AttentionTest : public BackendTest {
 protected:
  static bool on_cpu() { return GetParam().family == "cpu"; }
  // Those that the backend takes for such heads.
  static std::vector<KvFormat> Formats(const HeadShard& heads) {
    std::vector<KvFormat> formats = {KvFormat::kF16};
    if (GetParam().f32_kv) formats.push_back(KvFormat::kF32);
    if (heads.head_dim % 16 == 0) formats.insert(formats.end(), kPackedFormats.begin(), kPackedFormats.end());
    return formats;
  }
  // One query by the textbook, in double, over what the cache has.
  static std::vector<double> Textbook(const AttentionCase& test, int sequence, int64_t position, int head);
  // How far a result may lie from it.
  static double bound() { return on_cpu() ? 1e-5 : 3e-3; }
  // `got`: the results of the first sequence.
  static void ExpectTextbook(const AttentionCase& test, const std::vector<float>& got,
                             const std::vector<int64_t>& positions);
};
INSTANTIATE_BACKEND_TEST(AttentionTest);

// The middle of three ranks of a model with 12 query heads over 6 KV heads of 32 channels.
HeadShard Shard(int head_dim = 32) { return {4, 4, 2, 2, 2, head_dim}; }

// A rank of 3 query heads that read 2 KV heads: the second alone, the first by two.
HeadShard Uneven() { return {2, 3, 0, 2, 4, 20}; }

// A rank with one KV head and the queries that read it.
HeadShard OneKvHead(int queries, int head_dim) { return {0, queries, 0, 1, queries, head_dim}; }

void ExpectSame(const std::vector<std::vector<float>>& a, const std::vector<std::vector<float>>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t s = 0; s < a.size(); ++s) ASSERT_TRUE(SameBits(a[s], b[s])) << "sequence " << s;
}

const float* Row(const AttentionCase& test, int sequence, int64_t position, int head) {
  return &test.sequences()[sequence].qkv[position * test.width() + head * test.heads().head_dim];
}

std::vector<double> AttentionTest::Textbook(const AttentionCase& test, int sequence, int64_t position,
                                            int head) {
  const HeadShard& heads = test.heads();
  const int dim = heads.head_dim, kv = heads.LocalKv(head);
  const auto cached = [&](int64_t j, int column) {
    return AsCached(test.format(), !GetParam().f32_kv, j, Row(test, sequence, j, column), dim);
  };
  const std::vector<float> query = AsQuery(test.query_bits(), Row(test, sequence, position, head), dim);
  std::vector<double> scores, out(dim);
  for (int64_t j = 0; j <= position; ++j) {
    const std::vector<float> key = cached(j, heads.query_heads + kv);
    double score = 0;
    for (int d = 0; d < dim; ++d) score += double{query[d]} * key[d];
    scores.push_back(score / std::sqrt(dim));
  }
  const double most = *std::max_element(scores.begin(), scores.end());
  double total = 0;
  for (int64_t j = 0; j <= position; ++j) {
    const double weight = std::exp(scores[j] - most);
    const std::vector<float> value = cached(j, heads.query_heads + heads.kv_heads + kv);
    total += weight;
    for (int d = 0; d < dim; ++d) out[d] += weight * value[d];
  }
  for (double& value : out) value /= total;
  return out;
}

void AttentionTest::ExpectTextbook(const AttentionCase& test, const std::vector<float>& got,
                                   const std::vector<int64_t>& positions) {
  const int dim = test.heads().head_dim;
  for (int64_t position : positions) {
    for (int head = 0; head < test.heads().query_heads; ++head) {
      const std::vector<double> want = Textbook(test, 0, position, head);
      for (int d = 0; d < dim; ++d) {
        ASSERT_NEAR(got[position * test.out_width() + head * dim + d], want[d], bound())
            << "format " << static_cast<int>(test.format()) << ", " << dim << " channels, position "
            << position;
      }
    }
  }
}

// The same in the contract's order of float operations, from an exact cache.
struct Softmax {
  float most = 0, total = 0;
  std::vector<float> sums;
};

Softmax BlockSoftmax(const AttentionCase& test, int sequence, int64_t position, int head, int64_t begin) {
  const HeadShard& heads = test.heads();
  const int dim = heads.head_dim, kv = heads.LocalKv(head);
  const int64_t end = std::min(position + 1, begin + kKvBlockTokens);
  std::vector<float> scores;
  for (int64_t j = begin; j < end; ++j) {
    const float* key = Row(test, sequence, j, heads.query_heads + kv);
    float score = 0;
    for (int first = 0; first < dim; first += 16) {
      float segment = 0;
      for (int d = first; d < std::min(first + 16, dim); ++d) {
        segment += Row(test, sequence, position, head)[d] * key[d];
      }
      score += segment;
    }
    scores.push_back(score * (1.0f / std::sqrt(static_cast<float>(dim))));
  }
  Softmax block{*std::max_element(scores.begin(), scores.end()), 0, std::vector<float>(dim)};
  for (int64_t j = begin; j < end; ++j) {
    const float weight = Exp(scores[j - begin] - block.most);
    const float* value = Row(test, sequence, j, heads.query_heads + heads.kv_heads + kv);
    block.total += weight;
    for (int d = 0; d < dim; ++d) block.sums[d] += weight * value[d];
  }
  return block;
}

std::vector<float> InOrder(const AttentionCase& test, int sequence, int64_t position, int head) {
  Softmax all = BlockSoftmax(test, sequence, position, head, 0);
  for (int64_t begin = kKvBlockTokens; begin <= position; begin += kKvBlockTokens) {
    const Softmax block = BlockSoftmax(test, sequence, position, head, begin);
    const float most = std::max(all.most, block.most);
    const float old_factor = Exp(all.most - most), new_factor = Exp(block.most - most);
    all.most = most;
    all.total = all.total * old_factor + block.total * new_factor;
    for (size_t d = 0; d < all.sums.size(); ++d) {
      all.sums[d] = all.sums[d] * old_factor + block.sums[d] * new_factor;
    }
  }
  for (float& sum : all.sums) sum /= all.total;
  return all.sums;
}

TEST_P(AttentionTest, FollowsTheTextbook) {
  const std::vector<HeadShard> shards = {
      Shard(),           Shard(64),         Uneven(),          Shard(8),         OneKvHead(5, 128),
      OneKvHead(3, 100), OneKvHead(1, 256), OneKvHead(18, 96), OneKvHead(7, 80), OneKvHead(2, 16)};
  for (const HeadShard& heads : shards) {
    for (KvFormat format : Formats(heads)) {
      const AttentionCase test(heads, format, {150, 3});
      ExpectTextbook(test, test.Run(backend(), test.OneStep())[0], {0, 1, 63, 64, 127, 128, 149});
    }
  }
}

TEST_P(AttentionTest, FollowsTheTextbookOverALongContext) {
  for (KvFormat format : {KvFormat::kF16, KvFormat::kInt3, KvFormat::kInt4G32}) {
    const AttentionCase test(OneKvHead(2, 64), format, {700});
    const auto got = test.Run(backend(), {{{0, 0, 600}}, {{0, 600, 99}}, {{0, 699, 1}}});
    ExpectTextbook(test, got[0], {255, 256, 511, 600, 698, 699});
  }
}

TEST_P(AttentionTest, RoundsQueries) {
  for (KvFormat format : {KvFormat::kF16, KvFormat::kInt4, KvFormat::kInt3G32}) {
    AttentionCase test(OneKvHead(4, 128), format, {70}, /*query_bits=*/4);
    test.Change([](int64_t position, float* queries, float*, float*) {
      if (position == 5) std::fill_n(queries, 128, 0.0f);
    });
    ExpectTextbook(test, test.Run(backend(), test.OneStep())[0], {0, 5, 69});
  }
}

// Keys whose size differs by more than a half's range, zeros among them, and values likewise.
TEST_P(AttentionTest, TakesTokensOfAnySize) {
  for (const HeadShard& heads : {OneKvHead(4, 128), OneKvHead(2, 80)}) {
    for (KvFormat format : kPackedFormats) {
      AttentionCase test(heads, format, {130});
      test.Change([&](int64_t position, float*, float* keys, float* values) {
        constexpr float kSizes[] = {1, 0, 1e-9f, 1e-4f, 0.1f, 3};
        for (int d = 0; d < heads.head_dim; ++d) {
          keys[d] *= kSizes[position % 6];
          values[d] *= kSizes[position / 6 % 6];
        }
      });
      ExpectTextbook(test, test.Run(backend(), test.OneStep())[0], {0, 1, 2, 63, 64, 100, 129});
    }
  }
}

TEST_P(AttentionTest, AddsInTheContractsOrder) {
  if (!on_cpu()) GTEST_SKIP() << "the order of the CPU";
  for (const HeadShard& heads : {Shard(64), Uneven()}) {
    const AttentionCase test(heads, KvFormat::kF32, {200});
    const std::vector<float> got = test.Run(backend(), test.OneStep())[0];
    for (int64_t position : {0, 40, 63, 64, 130, 199}) {
      for (int head = 0; head < heads.query_heads; ++head) {
        const auto begin = got.begin() + position * test.out_width() + head * heads.head_dim;
        ExpectClose({begin, begin + heads.head_dim}, InOrder(test, 0, position, head), tolerance());
      }
    }
  }
}

TEST_P(AttentionTest, BitsDoNotDependOnChunksOrCompany) {
  for (const HeadShard& heads : {Shard(), Uneven(), OneKvHead(1, 64), OneKvHead(5, 128), OneKvHead(16, 64),
                                 OneKvHead(18, 20), OneKvHead(7, 80)}) {
    for (KvFormat format : Formats(heads)) {
      const AttentionCase test(heads, format, {190, 70, 1});
      const auto whole = test.Run(backend(), test.OneStep());
      ExpectSame(whole, test.Run(reference(), test.OneStep()));
      // Uneven chunks, sequences side by side and alone, in another order.
      ExpectSame(whole, test.Run(backend(), {{{0, 0, 50}, {1, 0, 1}, {2, 0, 1}},
                                             {{1, 1, 62}, {0, 50, 14}},
                                             {{0, 64, 1}, {1, 63, 1}},
                                             {{1, 64, 6}, {0, 65, 63}},
                                             {{0, 128, 62}}}));
      std::vector<std::vector<StepPart>> one_by_one = {{{1, 0, 70}}, {{2, 0, 1}}};
      for (int64_t position = 0; position < 190; ++position) one_by_one.push_back({{0, position, 1}});
      ExpectSame(whole, test.Run(backend(), one_by_one));
    }
  }
}

TEST_P(AttentionTest, LongContextIsTheSameForEveryThreadCount) {
  // Enough blocks that threads share a single query's.
  for (KvFormat format : {KvFormat::kF16, KvFormat::kInt3}) {
    const AttentionCase test(OneKvHead(2, 16), format, {1500});
    const std::vector<std::vector<StepPart>> steps = {{{0, 0, 1499}}, {{0, 1499, 1}}};
    ExpectSame(test.Run(backend(), steps), test.Run(reference(), test.OneStep()));
  }
}

TEST_P(AttentionTest, LongContextIsTheSameInPieces) {
  std::vector<HeadShard> shards = {OneKvHead(2, 16)};
  if (!on_cpu()) {
    for (int queries : {1, 4, 5, 8, 16, 20}) {
      for (int head_dim : {64, 128}) shards.push_back(OneKvHead(queries, head_dim));
    }
    shards.push_back(OneKvHead(4, 100));
    shards.push_back(OneKvHead(2, 256));
  }
  // Pieces of every size, borders at chunks of the context and beside them, one by one in the end.
  std::vector<std::vector<StepPart>> pieces = {{{0, 0, 300}, {1, 0, 255}},
                                               {{1, 255, 2}, {0, 300, 211}},
                                               {{0, 511, 2}, {1, 257, 60}},
                                               {{0, 513, 700}},
                                               {{0, 1213, 66}},
                                               {{0, 1279, 17}, {1, 317, 1}},
                                               {{0, 1296, 64}, {1, 318, 2}}};
  for (int64_t i = 0; i < 140; ++i) pieces.push_back({{0, 1360 + i, 1}, {1, 320 + i, 1}});
  for (const HeadShard& heads : shards) {
    const AttentionCase test(heads, KvFormat::kF16, {1500, 460});
    ExpectSame(test.Run(backend(), test.OneStep()), test.Run(backend(), pieces));
  }
}

TEST_P(AttentionTest, TurnsWritesAndAttendsAtOnce) {
  // Prompts whole and in pieces of up to 16 tokens, across borders of blocks and chunks; then tokens alone.
  std::vector<std::vector<StepPart>> steps = {{{0, 0, 230}, {1, 0, 16}},   {{0, 230, 13}, {1, 16, 1}},
                                              {{1, 17, 16}, {0, 243, 16}}, {{0, 259, 1}, {1, 33, 12}},
                                              {{1, 45, 70}, {0, 260, 2}},  {{0, 262, 258}},
                                              {{0, 520, 16}, {1, 115, 5}}, {{0, 536, 40}}};
  for (int64_t i = 0; i < 70; ++i) steps.push_back({{0, 576 + i, 1}, {1, 120 + i, 1}});
  std::vector<std::vector<StepPart>> short_steps = {{{0, 0, 5}}};
  for (int64_t i = 5; i < 130; ++i) short_steps.push_back({{0, i, 1}});
  std::vector<HeadShard> shards = {Uneven()};
  if (!on_cpu()) {
    for (const HeadShard& heads :
         {Shard(), Shard(8), OneKvHead(4, 128), OneKvHead(20, 64), OneKvHead(3, 96), OneKvHead(16, 104),
          OneKvHead(1, 100), OneKvHead(2, 256), HeadShard{0, 20, 0, 5, 4, 128}}) {
      shards.push_back(heads);
    }
  }
  for (const HeadShard& heads : shards) {
    for (KvFormat format : Formats(heads)) {
      const AttentionCase test(heads, format, {646, 190});
      for (const auto& each : {steps, short_steps}) {
        std::vector<uint8_t> parts_cache, whole_cache;
        const auto parts = test.Run(backend(), each, StepMeans::kTurnWriteAttend, &parts_cache);
        const auto whole = test.Run(backend(), each, StepMeans::kAtOnce, &whole_cache);
        ExpectSame(parts, whole);
        EXPECT_TRUE(SameBits(parts_cache, whole_cache));
      }
    }
  }
}

TEST_P(AttentionTest, TurnsManyTokensAtOnce) {
  // One token of each of many sequences: more pieces of context than a device works on at a time.
  std::vector<int64_t> lengths;
  for (int64_t i = 0; i < 37; ++i) lengths.push_back(2 + i * i % 23 * 40);
  std::vector<StepPart> prompts, tokens;
  for (int i = 0; i < 37; ++i) {
    prompts.push_back({i, 0, lengths[i] - 1});
    tokens.push_back({i, lengths[i] - 1, 1});
  }
  std::vector<HeadShard> shards = {Uneven()};
  if (!on_cpu()) {
    for (const HeadShard& heads : {HeadShard{0, 20, 0, 5, 4, 128}, HeadShard{14, 20, 0, 2, 17, 64}}) {
      shards.push_back(heads);
    }
  }
  for (const HeadShard& heads : shards) {
    const AttentionCase test(heads, KvFormat::kF16, lengths);
    std::vector<uint8_t> parts_cache, whole_cache;
    const auto parts = test.Run(backend(), {prompts, tokens}, StepMeans::kTurnWriteAttend, &parts_cache);
    const auto whole = test.Run(backend(), {prompts, tokens}, StepMeans::kAtOnce, &whole_cache);
    ExpectSame(parts, whole);
    EXPECT_TRUE(SameBits(parts_cache, whole_cache));
  }
}

TEST_P(AttentionTest, RecordedStepsAreTheSame) {
  for (const HeadShard& heads : {Uneven(), OneKvHead(4, 128)}) {
    const AttentionCase test(heads, KvFormat::kF16, {560, 340, 290});
    const auto whole = test.Run(backend(), test.OneStep());
    const auto replayed = test.RunReplayed(backend(), 200);
    for (size_t s = 0; s < whole.size(); ++s) {
      const std::vector<float> begin(whole[s].begin(), whole[s].begin() + replayed[s].size());
      ASSERT_TRUE(SameBits(replayed[s], begin)) << "sequence " << s;
    }
    const auto turned = test.Run(backend(), test.OneStep(), StepMeans::kTurnWriteAttend);
    const auto turned_replayed = test.RunReplayed(backend(), 200, StepMeans::kAtOnce);
    for (size_t s = 0; s < turned.size(); ++s) {
      const std::vector<float> begin(turned[s].begin(), turned[s].begin() + turned_replayed[s].size());
      ASSERT_TRUE(SameBits(turned_replayed[s], begin)) << "sequence " << s;
    }
  }
}

TEST_P(AttentionTest, ShapeSeldomChangesWhileASequenceGrows) {
  const std::vector<int32_t> blocks(640);
  int changes = 0;
  uint64_t shape = 0;
  for (int64_t position = 0; position < 40000; ++position) {
    const std::vector<KvSlice> slices = {{0, 1, position, blocks}};
    const uint64_t next = backend().UploadSlices(slices).shape;
    changes += next != shape;
    shape = next;
  }
  EXPECT_LE(changes, 24);
}

TEST_P(AttentionTest, LargeScoresStayFinite) {
  // Scores of thousands, rising and falling over the blocks: only differences reach the exponential.
  for (KvFormat format : Formats(Shard())) {
    AttentionCase test(Shard(), format, {200});
    test.Scale([](int64_t position) { return 30.0f * static_cast<float>(1 + position * 7 % 5); });
    const std::vector<float> got = test.Run(backend(), test.OneStep())[0];
    for (float value : got) ASSERT_TRUE(std::isfinite(value));
    if (format != KvFormat::kF32) continue;
    const auto begin = got.begin() + 199 * test.out_width() + 1 * 32;
    ExpectClose({begin, begin + 32}, InOrder(test, 0, 199, 1), tolerance());
  }
}

}  // namespace
}  // namespace ternion
