#include "runtime/model/logits.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "parallel/communicator.h"
#include "runtime/cache/kv_cache.h"
#include "runtime/model/sampler.h"
#include "runtime/serving/engine.h"

namespace ternion {
namespace {

constexpr int64_t kTokens = 150;  // more rows than are made at once

// One rank with a tiny model that has read a prompt. What is asked of its logits is compared with whole rows.
class LogitsTest : public testing::Test {
 protected:
  void SetUp() override {
    auto source = OpenSynthetic(std::string(TERNION_SOURCE_DIR) + "/tests/data/tiny-a4.8.json");
    ASSERT_TRUE(source.ok()) << source.status();
    vocab_ = (*source)->config().shape.vocab;
    auto weights = (*source)->Load({}, *backend_, [](double) {});
    ASSERT_TRUE(weights.ok()) << weights.status();
    auto cache = KvCache::Create(*backend_, KvFormat::kF32, /*query_bits=*/0,
                                 (*source)->config().shape.layers, BlocksFor(kTokens), weights->shard.heads);
    ASSERT_TRUE(cache.ok()) << cache.status();
    EngineOptions options;
    options.kv_blocks = 1;
    auto engine =
        Engine::Create((*source)->config(), *std::move(weights), {}, options, *backend_, *solo_, *solo_);
    ASSERT_TRUE(engine.ok()) << engine.status();
    engine_ = *std::move(engine);
    std::vector<int32_t> ids(kTokens), blocks(BlocksFor(kTokens));
    for (int64_t t = 0; t < kTokens; ++t) ids[t] = static_cast<int32_t>(t * 37 % vocab_);
    std::iota(blocks.begin(), blocks.end(), 0);
    const KvSlice slice{0, kTokens, 0, blocks};
    ASSERT_TRUE(engine_->stage().Forward(ids, absl::MakeConstSpan(&slice, 1), **cache).ok());
  }

  // Answers, and the whole rows of those that want them, by request.
  std::vector<LogitsAnswer> Ask(const std::vector<LogitsRequest>& requests) {
    whole_.assign(requests.size(), {});
    const auto take = [&](int64_t i, absl::Span<const float> logits) {
      whole_[i].assign(logits.begin(), logits.end());
    };
    EXPECT_TRUE(engine_->stage().BeginLogits(kTokens, requests, take).ok());
    return engine_->stage().TakeAnswers();
  }

  std::unique_ptr<Backend> backend_ = MakeCpuBackend(2);
  std::unique_ptr<Communicator> solo_ = MakeSoloCommunicator();
  std::unique_ptr<Engine> engine_;
  int64_t vocab_ = 0;
  std::vector<std::vector<float>> whole_;
};

std::vector<LogitsRequest> EveryRow() {
  std::vector<LogitsRequest> requests;
  for (int32_t row = 0; row < kTokens; ++row) requests.push_back({row, SampleRow()});
  return requests;
}

TEST_F(LogitsTest, EveryRowGetsItsOwnAnswer) {
  std::vector<LogitsRequest> requests = EveryRow();
  for (size_t i = 0; i < requests.size(); ++i) {
    LogitsRequest& request = requests[i];
    request.whole = true;
    request.logprobs = i % 5 == 0 ? -1 : static_cast<int32_t>(i % 5) - 1;
    if (i % 3 == 1) request.target = static_cast<int32_t>(i);
    if (i % 7 == 2) request.sample.reset();
    if (!request.sample.has_value() && request.target < 0) request.logprobs = -1;
  }
  const std::vector<LogitsAnswer> answers = Ask(requests);
  ASSERT_EQ(answers.size(), requests.size());
  for (size_t i = 0; i < answers.size(); ++i) {
    const LogitsRequest& request = requests[i];
    ASSERT_EQ(whole_[i].size(), static_cast<size_t>(vocab_));
    EXPECT_EQ(answers[i].id, request.sample.has_value() ? ArgMax(whole_[i]) : -1);
    ASSERT_EQ(answers[i].logprobs.has_value(), request.logprobs >= 0) << i;
    if (request.logprobs < 0) continue;
    const int32_t id = request.target >= 0 ? request.target : answers[i].id;
    EXPECT_NEAR(answers[i].logprobs->logprob, -NegativeLogLikelihood(whole_[i], id), 1e-5) << i;
    ASSERT_EQ(answers[i].logprobs->top.size(), static_cast<size_t>(request.logprobs)) << i;
    if (request.logprobs > 0) {
      EXPECT_EQ(answers[i].logprobs->top[0].first, ArgMax(whole_[i]));
    }
  }
}

// What is told is of the logits as the model gives them; the draw is of the changed ones.
TEST_F(LogitsTest, ChangesShowInTheDrawAlone) {
  std::vector<LogitsRequest> requests = EveryRow();
  for (LogitsRequest& request : requests) request.whole = true;
  Ask(requests);
  const std::vector<std::vector<float>> plain = whole_;
  std::vector<std::vector<LogitChange>> changes(requests.size());
  for (size_t i = 0; i < requests.size(); ++i) {
    if (i % 3 == 2) continue;
    changes[i].push_back(
        {0, ArgMax(plain[i]), i % 2 == 0 ? -std::numeric_limits<float>::infinity() : -2.0f, 2, 1});
    changes[i].push_back({0, static_cast<int32_t>((ArgMax(plain[i]) + 1) % vocab_), 1.5f, 1, 0});
    requests[i].changes = changes[i];
    requests[i].logprobs = 1;
  }
  const std::vector<LogitsAnswer> answers = Ask(requests);
  for (size_t i = 0; i < requests.size(); ++i) {
    EXPECT_EQ(whole_[i], plain[i]) << i;
    std::vector<float> changed = plain[i];
    for (const LogitChange& change : changes[i]) {
      float& x = changed[change.column];
      x += change.add;
      x = (x > 0 ? x / change.repetition : x * change.repetition) - change.subtract;
    }
    EXPECT_EQ(answers[i].id, ArgMax(changed)) << i;
    if (changes[i].empty()) continue;
    EXPECT_NEAR(answers[i].logprobs->logprob, -NegativeLogLikelihood(plain[i], answers[i].id), 1e-5) << i;
    EXPECT_EQ(answers[i].logprobs->top[0].first, ArgMax(plain[i])) << i;
  }
  // Nor do they stay for the next step.
  for (LogitsRequest& request : requests) request.changes = {};
  const std::vector<LogitsAnswer> after = Ask(requests);
  for (size_t i = 0; i < requests.size(); ++i) EXPECT_EQ(after[i].id, ArgMax(plain[i])) << i;
}

// Of some rows, beside changes: a mask lets a draw be one of three ids, and shows nowhere else.
TEST_F(LogitsTest, MasksShowInTheDrawAlone) {
  std::vector<LogitsRequest> requests = EveryRow();
  for (LogitsRequest& request : requests) request.whole = true;
  Ask(requests);
  const std::vector<std::vector<float>> plain = whole_;
  std::vector<std::vector<uint32_t>> masks(requests.size());
  std::vector<LogitChange> changes = {{0, 40, 1000, 1, 0}, {0, 77, 500, 1, 0}};
  for (size_t i = 0; i < requests.size(); ++i) {
    requests[i].changes = changes;
    requests[i].logprobs = 1;
    if (i % 3 == 0) continue;
    masks[i].resize(MaskWords(vocab_));
    for (const size_t id : {i + 100, i + 400, size_t{77}}) masks[i][id / 32] |= uint32_t{1} << (id % 32);
    requests[i].mask = masks[i];
    if (i % 3 == 2) requests[i].changes = {};
  }
  for (const bool whole : {true, false}) {
    for (LogitsRequest& request : requests) request.whole = whole;
    const std::vector<LogitsAnswer> answers = Ask(requests);
    for (size_t i = 0; i < requests.size(); ++i) {
      if (whole) {
        EXPECT_EQ(whole_[i], plain[i]) << i;
      }
      std::vector<float> allowed(vocab_, -std::numeric_limits<float>::infinity());
      for (const size_t id : {i + 100, i + 400, size_t{77}}) allowed[id] = plain[i][id];
      const int32_t want = i % 3 == 0 ? 40 : i % 3 == 1 ? 77 : ArgMax(allowed);
      EXPECT_EQ(answers[i].id, want) << i;
      EXPECT_NEAR(answers[i].logprobs->logprob, -NegativeLogLikelihood(plain[i], want), 1e-4) << i;
      EXPECT_EQ(answers[i].logprobs->top[0].first, ArgMax(plain[i])) << i;
    }
  }
}

TEST_F(LogitsTest, StepsAreAnsweredInTheirOrder) {
  const auto nothing = [](int64_t, absl::Span<const float>) {};
  const std::vector<LogitsRequest> requests = EveryRow();
  const std::vector<LogitsAnswer> want = Ask(requests);
  std::vector<LogitsRequest> few = {requests[70], requests[149]};
  few[1].logprobs = 2;
  ASSERT_TRUE(engine_->stage().BeginLogits(kTokens, requests, nothing).ok());
  ASSERT_TRUE(engine_->stage().BeginLogits(kTokens, few, nothing).ok());
  const std::vector<LogitsAnswer> first = engine_->stage().TakeAnswers();
  const std::vector<LogitsAnswer> second = engine_->stage().TakeAnswers();
  ASSERT_EQ(first.size(), want.size());
  for (size_t i = 0; i < want.size(); ++i) EXPECT_EQ(first[i].id, want[i].id);
  ASSERT_EQ(second.size(), 2u);
  EXPECT_EQ(second[0].id, want[70].id);
  EXPECT_FALSE(second[0].logprobs.has_value());
  EXPECT_EQ(second[1].id, want[149].id);
  EXPECT_EQ(second[1].logprobs->top[0].first, second[1].id);
}

}  // namespace
}  // namespace ternion
