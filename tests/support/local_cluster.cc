#include "tests/support/local_cluster.h"

#include <utility>

#include "kernels/check.h"
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
  limits.pipeline_stages = options.pp;
  if (options.eos) limits.eos_ids = config.eos_ids;
  sampler_ = ProcessGrid{options.tp, options.pp, 0}.sampler_rank();
  coordinator_ = std::make_unique<Coordinator>(
      limits, sampler_ == 0, [this](const StepPlan& plan) { SendToAll(EncodePlan(plan)); },
      [this](const StepPlan& plan) { return ranks_[0]->engine->Step(plan); });
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

void LocalCluster::WorkerLoop(int rank) {
  while (true) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return !ranks_[rank]->plans.empty(); });
    const std::string bytes = std::move(ranks_[rank]->plans.front());
    ranks_[rank]->plans.pop_front();
    lock.unlock();
    if (bytes.empty()) return;
    const absl::StatusOr<StepPlan> plan = DecodePlan(bytes);
    CHECK(plan.ok(), "a plan that was just encoded");
    absl::StatusOr<StepResult> result = ranks_[rank]->engine->Step(*plan);
    if (!result.ok()) {
      coordinator_->OnFailure(result.status());
    } else if (rank == sampler_) {
      coordinator_->OnResult(*DecodeResult(EncodeResult(*result)));
    }
  }
}

void LocalCluster::SendToAll(const std::string& plan) {
  std::lock_guard lock(mutex_);
  for (size_t rank = 1; rank < ranks_.size(); ++rank) ranks_[rank]->plans.push_back(plan);
  changed_.notify_all();
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
