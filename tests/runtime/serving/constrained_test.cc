// Constrained requests through scheduler and engine: what each is told is the same alone on one rank, and together with
// others on any grid; and it is what its grammar allows.
#include <gtest/gtest.h>

#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "nlohmann/json.hpp"
#include "runtime/constraint/constraint.h"
#include "runtime/constraint/json_schema.h"
#include "runtime/constraint/next_mask.h"
#include "runtime/serving/scheduler.h"
#include "tests/runtime/constraint/schema_check.h"
#include "tests/support/fake_tokenizer.h"
#include "tests/support/local_cluster.h"

namespace ternion {
namespace {

using Completion = LocalCluster::Completion;
using Json = nlohmann::ordered_json;

constexpr std::string_view kSchemas[] = {
    R"({"type": "object", "properties": {"a": {"type": "integer"}, "b": {"enum": ["x", "yy", "zzz"]}}, "required": ["b"]})",
    R"({"type": "array", "items": {"type": "boolean"}, "minItems": 2, "maxItems": 4})",
    R"({"type": "string", "maxLength": 8})", R"({"anyOf": [{"type": "number"}, {"type": "null"}]})"};

std::unique_ptr<WeightSource> TinyModel() {
  auto source = OpenSynthetic(std::string(TERNION_SOURCE_DIR) + "/tests/data/tiny-a4.8.json");
  EXPECT_TRUE(source.ok()) << source.status();
  return *std::move(source);
}

// Every byte is an id of the model; its other ids are nothing.
std::shared_ptr<Constraint> ConstraintOf(std::string_view schema) {
  static const FakeTokenizer tokenizer;
  static const auto vocabulary = std::make_shared<const VocabularyTrie>(tokenizer);
  std::string where;
  auto grammar = JsonSchemaGrammar(Json::parse(schema), &where);
  EXPECT_TRUE(grammar.ok()) << grammar.status();
  return std::make_shared<Constraint>(*std::move(grammar), vocabulary);
}

struct Case {
  std::string name;
  int tp = 1;
  int pp = 1;
  bool ahead = false;
  int64_t batch_tokens = 64;
  int64_t blocks = 64;
};
void PrintTo(const Case& grid, std::ostream* out) { *out << grid.name; }

LocalCluster::Options Grid(const Case& grid) {
  LocalCluster::Options options;
  options.tp = grid.tp;
  options.pp = grid.pp;
  options.plans_ahead = grid.ahead;
  options.engine.max_model_len = 256;
  options.engine.max_batch_tokens = grid.batch_tokens;
  options.engine.kv_blocks = grid.blocks;
  return options;
}

std::vector<Completion> RunOn(const Case& grid, WeightSource& source, std::vector<GenerateRequest> requests) {
  return LocalCluster(source, Grid(grid)).Run(std::move(requests));
}

GenerateRequest Request(int64_t length, int64_t max_tokens) {
  GenerateRequest request;
  for (int64_t t = 0; t < length; ++t) {
    request.prompt.push_back(static_cast<int32_t>((7 * t + 31 * length) % 1000));
  }
  request.max_tokens = max_tokens;
  return request;
}

// Every third is free; the others are greedy or drawn, some with penalties and log-probabilities.
std::vector<GenerateRequest> MixedRequests() {
  std::vector<std::shared_ptr<Constraint>> constraints;
  for (const std::string_view schema : kSchemas) constraints.push_back(ConstraintOf(schema));
  std::vector<GenerateRequest> requests;
  for (int i = 0; i < 16; ++i) {
    GenerateRequest request = Request(1 + 9 * i, 24 + i % 3);
    if (i % 3 != 2) request.constraint = constraints[static_cast<size_t>(i % 4)];
    if (i % 2 == 1)
      request.sampling = {0.9f, i % 4 == 1 ? 0 : 30, i % 8 < 4 ? 0.95f : 1.0f, static_cast<uint64_t>(i)};
    if (i % 4 == 0) request.sampling.repetition_penalty = 1.3f;
    if (i % 5 == 0) request.logprobs = i % 6;
    request.hash_logits = i % 7 == 3;
    requests.push_back(request);
  }
  return requests;
}

class ConstrainedOnGrids : public testing::TestWithParam<Case> {};

TEST_P(ConstrainedOnGrids, EveryRequestIsToldTheSameAsAlone) {
  const auto source = TinyModel();
  const std::vector<GenerateRequest> requests = MixedRequests();
  LocalCluster cluster(*source, Grid(GetParam()));
  const std::vector<Completion> together = cluster.Run(requests);
  for (size_t i = 0; i < requests.size(); ++i) {
    const Completion alone = RunOn(Case{}, *source, {requests[i]})[0];
    EXPECT_TRUE(together[i].status.ok()) << together[i].status;
    EXPECT_EQ(alone.tokens, together[i].tokens) << "request " << i;
    EXPECT_EQ(alone.finish, together[i].finish) << "request " << i;
    EXPECT_EQ(alone.logprobs, together[i].logprobs) << "request " << i;
    EXPECT_EQ(alone.logits_hash, together[i].logits_hash) << "request " << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Grids, ConstrainedOnGrids,
                         testing::Values(Case{"tp1"}, Case{"tp1_chunks", 1, 1, false, 9},
                                         Case{"tp1_preempted", 1, 1, false, 64, 5},
                                         Case{"tp1_ahead", 1, 1, true}, Case{"tp2", 2, 1}, Case{"tp4", 4, 1},
                                         Case{"pp2", 1, 2}, Case{"tp2_pp2", 2, 2}),
                         [](const auto& test) { return test.param.name; });

TEST(Constrained, WhatIsSaidIsOfTheSchema) {
  const auto source = TinyModel();
  const int32_t eos = source->config().eos_ids[0];
  std::vector<GenerateRequest> requests;
  for (int i = 0; i < 40; ++i) {
    GenerateRequest request = Request(3 + i, 100);
    request.constraint = ConstraintOf(kSchemas[i % 4]);
    if (i >= 4) request.sampling = {1.0f, 0, 1.0f, static_cast<uint64_t>(i)};
    requests.push_back(request);
  }
  const std::vector<Completion> completions = RunOn(Case{}, *source, requests);
  int whole = 0;
  for (size_t i = 0; i < completions.size(); ++i) {
    ASSERT_TRUE(completions[i].status.ok()) << completions[i].status;
    if (completions[i].finish != FinishReason::kStop) continue;
    ++whole;
    std::vector<int32_t> ids = completions[i].tokens;
    ASSERT_EQ(ids.back(), eos);
    ids.pop_back();
    const std::string text = FakeTokenizer().Decode(ids, true);
    const Json schema = Json::parse(kSchemas[i % 4]), value = Json::parse(text, nullptr, false);
    ASSERT_FALSE(value.is_discarded()) << text;
    EXPECT_TRUE(SchemaCheck(schema).Fits(value)) << text;
  }
  EXPECT_GT(whole, 30);
}

// Penalties and biases move what is allowed, not what is forbidden.
TEST(Constrained, ABiasDoesNotLeadOutOfTheGrammar) {
  const auto source = TinyModel();
  GenerateRequest request = Request(5, 8);
  request.constraint = ConstraintOf(R"({"enum": ["a", "b"]})");
  request.logit_bias = {{'{', 100.0f}, {'b', 90.0f}, {source->config().eos_ids[0], 95.0f}};
  const std::vector<int32_t> want = {'"', 'b', '"', source->config().eos_ids[0]};
  EXPECT_EQ(RunOn(Case{}, *source, {request})[0].tokens, want);
  request.stop_ids = {'b'};
  EXPECT_EQ(RunOn(Case{}, *source, {request})[0].tokens, std::vector<int32_t>({'"', 'b'}));
}

// The scheduler alone, whose plans are answered with the allowed id that the request likes best; every mask is awaited, so that
// the second request gives its blocks back in each run.
TEST(Constrained, APreemptedRequestGoesOnWithItsText) {
  const auto said = [](int64_t blocks, int64_t* preemptions) {
    std::mutex mutex;
    std::condition_variable changed;
    size_t asked = 0;
    std::vector<uint64_t> made;
    MaskThread masks([&](uint64_t id, const absl::Status& status) {
      EXPECT_TRUE(status.ok()) << status;
      const std::lock_guard lock(mutex);
      made.push_back(id);
      changed.notify_all();
    });
    SchedulerLimits limits;
    limits.vocab = 300;
    limits.blocks = blocks;
    limits.eos_ids = {299};
    limits.prefix_caching = false;
    Scheduler scheduler(limits, &masks);
    std::vector<std::vector<int32_t>> tokens(2);
    for (size_t i = 0; i < tokens.size(); ++i) {
      GenerateRequest request;
      request.prompt.assign(kKvBlockTokens - 4, 5);
      request.max_tokens = 2 * kKvBlockTokens;
      request.constraint =
          ConstraintOf(R"({"type": "array", "items": {"type": "integer", "maximum": 9, "minimum": 0}})");
      const auto sink = [](const TokenEvent&) {};
      EXPECT_TRUE(scheduler.Submit(request, sink).ok());
      ++asked;
    }
    while (scheduler.running() + scheduler.waiting() > 0) {
      {
        std::unique_lock lock(mutex);
        changed.wait(lock, [&] { return made.size() == asked; });
        for (const uint64_t id : std::exchange(made, {})) scheduler.TakeMask(id, absl::OkStatus());
        asked = 0;
      }
      const std::optional<StepPlan> plan = scheduler.PlanStep();
      StepResult result;
      result.step = plan->step;
      for (const StepSequence& sequence : plan->sequences) {
        if (!sequence.sample) continue;
        const auto allowed = [&](int32_t id) { return (sequence.mask[id / 32] >> (id % 32) & 1) != 0; };
        std::vector<int32_t>& own = tokens[sequence.id - 1];
        int32_t id = static_cast<int32_t>((own.size() * 7 + sequence.id) % 299);
        while (!allowed(id) ||
               std::string_view("] \n").find(static_cast<char>(id)) != std::string_view::npos) {
          id = (id + 1) % 299;
        }
        own.push_back(id);
        result.sequences.push_back({sequence.id, id});
      }
      for (const Scheduler::Notice& notice : scheduler.Commit(result))
        asked += notice.event.finish.has_value() ? 0 : 1;
    }
    *preemptions = scheduler.stats().preemptions;
    return tokens;
  };
  int64_t with_room = 0, without = 0;
  EXPECT_EQ(said(64, &with_room), said(3, &without));
  EXPECT_EQ(with_room, 0);
  EXPECT_GT(without, 0);
}

TEST(Constrained, WhatCannotBeSaidEndsTheRequestAlone) {
  const auto source = TinyModel();
  GenerateRequest request = Request(5, 8);
  // Of the vocabulary, of which the model has 1000 ids, nothing begins an object.
  class Letters final : public Tokenizer {
   public:
    absl::StatusOr<std::vector<int32_t>> Encode(std::string_view, bool) const override {
      return std::vector<int32_t>();
    }
    absl::StatusOr<std::vector<int32_t>> EncodePlain(std::string_view) const override {
      return std::vector<int32_t>();
    }
    absl::StatusOr<std::vector<int32_t>> EncodeMixed(std::string_view,
                                                     absl::Span<const TextRange>) const override {
      return std::vector<int32_t>();
    }
    std::string Decode(absl::Span<const int32_t>, bool) const override { return ""; }
    std::string_view TokenBytes(int32_t) const override { return "letters"; }
    bool IsSpecial(int32_t) const override { return false; }
    std::optional<int32_t> TokenId(std::string_view) const override { return std::nullopt; }
    int64_t vocab_size() const override { return 100; }
  };
  const Letters letters;
  request.constraint =
      std::make_shared<Constraint>(JsonObjectGrammar(), std::make_shared<const VocabularyTrie>(letters));
  const std::vector<Completion> completions = RunOn(Case{}, *source, {Request(9, 4), request});
  EXPECT_EQ(completions[0].tokens.size(), 4u);
  EXPECT_TRUE(absl::IsInvalidArgument(completions[1].status)) << completions[1].status;
  EXPECT_TRUE(completions[1].tokens.empty());
}

TEST(Constrained, RefusesWhatContradictsIt) {
  const auto source = TinyModel();
  GenerateRequest request = Request(3, 3);
  request.constraint = ConstraintOf("true");
  GenerateRequest longer = request, endless = request;
  longer.min_tokens = 2;
  endless.ignore_eos = true;
  for (const Completion& refused : RunOn(Case{}, *source, {longer, endless})) {
    EXPECT_TRUE(absl::IsInvalidArgument(refused.status)) << refused.status;
  }
}

}  // namespace
}  // namespace ternion
