#include "tests/support/local_cluster.h"

#include <algorithm>
#include <utility>

#include "kernels/check.h"
#include "kernels/status.h"
#include "parallel/communicator.h"

namespace ternion {

LocalCluster::LocalCluster(WeightSource& source, const Options& options) {
  const int world = options.tp * options.pp;
  for (int rank = 0; rank < world; ++rank) ranks_.push_back(std::make_unique<Rank>());
  for (int stage = 0; stage < options.pp; ++stage) {
    auto group = MakeLocalCommunicators(options.tp);
    for (int r = 0; r < options.tp; ++r) ranks_[stage * options.tp + r]->group = std::move(group[r]);
  }
  for (int r = 0; r < options.tp; ++r) {
    auto column = MakeLocalCommunicators(options.pp);
    for (int stage = 0; stage < options.pp; ++stage)
      ranks_[stage * options.tp + r]->column = std::move(column[stage]);
  }
  for (int rank = 0; rank < world; ++rank) LoadRank(source, options, rank);

  const ModelConfig& config = source.config();
  SchedulerLimits limits;
  limits.max_model_len = options.engine.max_model_len;
  limits.max_batch_tokens = options.engine.max_batch_tokens;
  limits.max_sequences = options.max_sequences;
  limits.blocks = options.engine.kv_blocks;
  limits.vocab = config.shape.vocab;
  limits.micro_batches = options.micro_batches > 0 ? options.micro_batches : options.pp;
  limits.prefix_caching = options.prefix_caching;
  limits.plans_ahead = options.plans_ahead;
  CHECK(!options.plans_ahead || ranks_[0]->engine->TakesDrawn(), "this grid cannot plan ahead");
  if (options.eos) limits.eos_ids = config.eos_ids;
  sampler_ = ProcessGrid{options.tp, options.pp, 0}.sampler_rank();
  coordinator_ = std::make_unique<Coordinator>(
      limits, sampler_ == 0,
      [this](const StepPlan& plan) {
        CountInFlight(1);
        SendToAll(EncodePlan(plan));
      },
      [this, ahead = options.plans_ahead](const StepPlan& plan) -> absl::StatusOr<StepResult> {
        if (ahead) {
          TERNION_RETURN_IF_ERROR(ranks_[0]->engine->Begin(plan));
          return StepResult();
        }
        absl::StatusOr<StepResult> result = ranks_[0]->engine->Step(plan);
        if (sampler_ == 0) CountInFlight(-1);
        return result;
      });
  if (options.plans_ahead) {
    coordinator_->StepsRunAhead([this] {
      CountInFlight(-1);
      return ranks_[0]->engine->Finish();
    });
  }
  for (int rank = 1; rank < world; ++rank) {
    ranks_[rank]->thread = std::thread([this, rank] { WorkerLoop(rank); });
  }
}

LocalCluster::~LocalCluster() {
  SendToAll("");
  for (auto& rank : ranks_) {
    if (rank->thread.joinable()) rank->thread.join();
  }
}

void LocalCluster::LoadRank(WeightSource& source, const Options& options, int rank) {
  Rank& one = *ranks_[rank];
  const ProcessGrid grid{options.tp, options.pp, rank};
  one.backend = MakeCpuBackend(options.threads);
  absl::StatusOr<StageWeights> weights = source.Load(grid, *one.backend, [](double) {});
  CHECK(weights.ok(), std::string(weights.status().message()));
  auto engine = Engine::Create(source.config(), *std::move(weights), grid, options.engine, *one.backend,
                               *one.group, *one.column);
  CHECK(engine.ok(), std::string(engine.status().message()));
  one.engine = *std::move(engine);
}

// Begins a step that has come already before it takes the answer to the one before.
void LocalCluster::WorkerLoop(int rank) {
  Engine& engine = *ranks_[rank]->engine;
  while (true) {
    std::unique_lock lock(mutex_);
    std::deque<std::string>& plans = ranks_[rank]->plans;
    changed_.wait(lock, [&] { return !plans.empty() || engine.has_begun(); });
    if (plans.empty()) {
      lock.unlock();
      const absl::StatusOr<StepResult> result = engine.Finish();
      if (!result.ok()) {
        coordinator_->OnFailure(result.status());
      } else if (rank == sampler_) {
        CountInFlight(-1);
        coordinator_->OnResult(*DecodeResult(EncodeResult(*result)));
      }
      continue;
    }
    const std::string bytes = std::move(plans.front());
    plans.pop_front();
    lock.unlock();
    if (bytes.empty()) return;
    const absl::StatusOr<StepPlan> plan = DecodePlan(bytes);
    CHECK(plan.ok(), "a plan that was just encoded");
    if (const absl::Status begun = engine.Begin(*plan); !begun.ok()) coordinator_->OnFailure(begun);
  }
}

void LocalCluster::SendToAll(const std::string& plan) {
  std::lock_guard lock(mutex_);
  for (size_t rank = 1; rank < ranks_.size(); ++rank) ranks_[rank]->plans.push_back(plan);
  changed_.notify_all();
}

void LocalCluster::CountInFlight(int64_t change) {
  std::lock_guard lock(mutex_);
  in_flight_ += change;
  most_in_flight_ = std::max(most_in_flight_, in_flight_);
}

std::vector<LocalCluster::Completion> LocalCluster::Run(std::vector<GenerateRequest> requests) {
  std::vector<Completion> completions(requests.size());
  for (size_t i = 0; i < requests.size(); ++i) {
    const auto sink = [&completions, i](const TokenEvent& event) {
      Completion& completion = completions[i];
      completion.status = event.status;
      completion.finish = event.finish;
      completion.negative_log_likelihood = event.negative_log_likelihood;
      if (event.token < 0) return;
      completion.tokens.push_back(event.token);
      if (event.logprobs.has_value()) completion.logprobs.push_back(*event.logprobs);
      if (!event.prompt_logprobs.empty()) completion.prompt_logprobs = event.prompt_logprobs;
      completion.logits_hash = event.logits_hash;
    };
    const absl::StatusOr<uint64_t> id = coordinator_->Submit(std::move(requests[i]), sink);
    if (!id.ok()) completions[i].status = id.status();
  }
  coordinator_->Drain();
  const absl::Status run = coordinator_->Run();
  CHECK(run.ok(), std::string(run.message()));
  return completions;
}

}  // namespace ternion
