// The first promise: the same logits bit for bit, whatever the ranks, the batch and the chunks.
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "tests/support/local_cluster.h"

namespace ternion {
namespace {

std::unique_ptr<WeightSource> TinyModel(const std::string& name) {
  auto source = OpenSynthetic(std::string(TERNION_SOURCE_DIR) + "/tests/data/" + name + ".json");
  EXPECT_TRUE(source.ok()) << source.status();
  return *std::move(source);
}

LocalCluster::Options Grid(int tp, int pp) {
  LocalCluster::Options options;
  options.tp = tp;
  options.pp = pp;
  options.eos = false;
  options.engine.max_model_len = 256;
  options.engine.max_batch_tokens = 128;
  options.engine.kv_blocks = 64;
  return options;
}

// Nine requests of mixed lengths, greedy and sampled.
std::vector<GenerateRequest> MixedRequests(int64_t vocab) {
  std::vector<GenerateRequest> requests;
  for (int i = 0; i < 9; ++i) {
    GenerateRequest request;
    for (int t = 0; t < 1 + 13 * i; ++t)
      request.prompt.push_back(static_cast<int32_t>((7 * t + 131 * i) % vocab));
    request.max_tokens = 3 + i % 4;
    request.hash_logits = true;
    if (i % 2 == 1) request.sampling = {0.8f, i % 3 == 0 ? 0 : 40, 0.9f, static_cast<uint64_t>(i)};
    requests.push_back(request);
  }
  return requests;
}

std::vector<LocalCluster::Completion> RunAll(WeightSource& source, const LocalCluster::Options& options) {
  return LocalCluster(source, options).Run(MixedRequests(source.config().shape.vocab));
}

void ExpectSame(const std::vector<LocalCluster::Completion>& want,
                const std::vector<LocalCluster::Completion>& got) {
  ASSERT_EQ(want.size(), got.size());
  for (size_t i = 0; i < want.size(); ++i) {
    EXPECT_TRUE(got[i].status.ok()) << got[i].status;
    EXPECT_EQ(want[i].tokens, got[i].tokens) << "request " << i;
    EXPECT_EQ(want[i].logits_hash, got[i].logits_hash) << "request " << i;
    EXPECT_EQ(want[i].finish, got[i].finish) << "request " << i;
  }
}

// Each request in a job of its own, one rank.
std::vector<LocalCluster::Completion> RunAlone(WeightSource& source) {
  std::vector<LocalCluster::Completion> alone;
  for (const GenerateRequest& request : MixedRequests(source.config().shape.vocab)) {
    LocalCluster cluster(source, Grid(1, 1));
    alone.push_back(cluster.Run({request})[0]);
  }
  return alone;
}

struct Case {
  std::string model;
  int tp;
  int pp;
};

std::string CaseName(const testing::TestParamInfo<Case>& test) {
  std::string name =
      test.param.model + "_tp" + std::to_string(test.param.tp) + "_pp" + std::to_string(test.param.pp);
  for (char& c : name) c = isalnum(static_cast<unsigned char>(c)) ? c : '_';
  return name;
}

class Exactness : public testing::TestWithParam<Case> {};

TEST_P(Exactness, SameBitsAsAloneOnOneRank) {
  const auto source = TinyModel(GetParam().model);
  const auto alone = RunAlone(*source);
  ExpectSame(alone, RunAll(*source, Grid(GetParam().tp, GetParam().pp)));
  for (const int64_t chunk : {3, 20}) {
    LocalCluster::Options options = Grid(GetParam().tp, GetParam().pp);
    options.engine.max_batch_tokens = chunk;
    ExpectSame(alone, RunAll(*source, options));
  }
}

TEST_P(Exactness, SequenceParallelAndOneShotGiveTheSameBits) {
  const auto source = TinyModel(GetParam().model);
  LocalCluster::Options options = Grid(GetParam().tp, GetParam().pp);
  options.engine.one_shot_tokens = 0;
  const auto parallel = RunAll(*source, options);
  options.engine.one_shot_tokens = 1000;
  ExpectSame(parallel, RunAll(*source, options));
}

INSTANTIATE_TEST_SUITE_P(
    Grids, Exactness,
    testing::Values(Case{"tiny-a4.8", 1, 1}, Case{"tiny-a4.8", 2, 1}, Case{"tiny-a4.8", 4, 1},
                    Case{"tiny-a4.8", 8, 1}, Case{"tiny-a4.8", 1, 2}, Case{"tiny-a4.8", 2, 2},
                    Case{"tiny-a4.8", 1, 4}, Case{"tiny-silu", 1, 1}, Case{"tiny-silu", 3, 1},
                    Case{"tiny-silu", 2, 3}, Case{"tiny-linear-norms", 1, 1}, Case{"tiny-linear-norms", 2, 3},
                    Case{"tiny-int2", 1, 1}, Case{"tiny-int2", 1, 3}, Case{"tiny-dense", 1, 2}),
    CaseName);

// Sums of floats between ranks depend on tp, and on nothing else.
class FloatExactness : public testing::TestWithParam<Case> {};

TEST_P(FloatExactness, BatchChunksAndStagesDoNotShow) {
  const auto source = TinyModel(GetParam().model);
  LocalCluster::Options options = Grid(GetParam().tp, 1);
  const auto whole = RunAll(*source, options);
  const auto requests = MixedRequests(source->config().shape.vocab);
  for (size_t i = 0; i < requests.size(); ++i) {
    ExpectSame({whole[i]}, LocalCluster(*source, Grid(GetParam().tp, 1)).Run({requests[i]}));
  }
  options.pp = GetParam().pp;
  for (const int64_t chunk : {3, 20}) {
    options.engine.max_batch_tokens = chunk;
    ExpectSame(whole, RunAll(*source, options));
  }
  options.engine.one_shot_tokens = 0;
  ExpectSame(whole, RunAll(*source, options));
}

INSTANTIATE_TEST_SUITE_P(Grids, FloatExactness,
                         testing::Values(Case{"tiny-int2", 2, 1}, Case{"tiny-int2", 3, 3},
                                         Case{"tiny-dense", 2, 3}),
                         CaseName);

// A lossy wire is reproducible at fixed ranks: the batch and the chunks do not show.
TEST(LossyWires, DoNotDependOnBatchOrChunks) {
  const auto source = TinyModel("tiny-a4.8");
  const auto exact = RunAll(*source, Grid(2, 2));
  for (const WireFormat wire : {WireFormat::kInt8, WireFormat::kInt4}) {
    LocalCluster::Options options = Grid(2, 2);
    options.engine.wire = wire;
    options.engine.pipeline_wire = wire;
    const auto whole = RunAll(*source, options);
    options.engine.max_batch_tokens = 7;
    ExpectSame(whole, RunAll(*source, options));
    for (size_t i = 0; i < exact.size(); ++i) EXPECT_NE(exact[i].logits_hash, whole[i].logits_hash);
  }
}

TEST(KvFormats, RoundedValuesAreReadInTheSameChunk) {
  const auto source = TinyModel("tiny-a4.8");
  LocalCluster::Options options = Grid(1, 1);
  options.engine.kv_format = KvFormat::kF32;
  std::set<uint64_t> hashes = {RunAll(*source, options)[8].logits_hash};
  for (KvFormat format : {KvFormat::kF16, KvFormat::kInt8, KvFormat::kInt4, KvFormat::kInt3,
                          KvFormat::kInt4G32, KvFormat::kInt3G32}) {
    options = Grid(1, 1);
    options.engine.kv_format = format;
    const auto whole = RunAll(*source, options);
    EXPECT_TRUE(hashes.insert(whole[8].logits_hash).second) << "a format that rounds as another";
    options.engine.max_batch_tokens = 5;
    ExpectSame(whole, RunAll(*source, options));
    options.tp = options.pp = 2;
    ExpectSame(whole, RunAll(*source, options));
  }
}

TEST(QueryBits, DoNotDependOnRanksOrChunks) {
  const auto source = TinyModel("tiny-a4.8");
  LocalCluster::Options options = Grid(1, 1);
  options.engine.kv_format = KvFormat::kInt3;
  const auto exact = RunAll(*source, options);
  options.engine.query_bits = 4;
  const auto rounded = RunAll(*source, options);
  EXPECT_NE(rounded[8].logits_hash, exact[8].logits_hash);
  options.tp = options.pp = 2;
  options.engine.max_batch_tokens = 5;
  ExpectSame(rounded, RunAll(*source, options));
}

TEST(Scoring, DoesNotDependOnChunks) {
  const auto source = TinyModel("tiny-a4.8");
  GenerateRequest request;
  for (int t = 0; t < 100; ++t) request.prompt.push_back(t * 37 % 1000);
  request.score_targets.assign(request.prompt.begin() + 1, request.prompt.end());
  request.score_targets.push_back(5);
  const auto whole = LocalCluster(*source, Grid(1, 1)).Run({request});
  LocalCluster::Options options = Grid(2, 2);
  options.engine.max_batch_tokens = 33;
  const auto chunked = LocalCluster(*source, options).Run({request});
  EXPECT_GT(whole[0].negative_log_likelihood, 0);
  EXPECT_NEAR(whole[0].negative_log_likelihood, chunked[0].negative_log_likelihood, 1e-9);
}

}  // namespace
}  // namespace ternion
