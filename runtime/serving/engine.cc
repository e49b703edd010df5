#include "runtime/serving/engine.h"

#include <xxhash.h>

#include <algorithm>
#include <map>
#include <utility>

#include "kernels/check.h"
#include "kernels/status.h"

namespace ternion {

class Engine::LogitsHashes {
 public:
  uint64_t Add(uint64_t id, absl::Span<const float> logits) {
    std::unique_ptr<XXH64_state_t, Free>& state = states_[id];
    if (state == nullptr) {
      state.reset(XXH64_createState());
      XXH64_reset(state.get(), 0);
    }
    XXH64_update(state.get(), logits.data(), logits.size() * sizeof(float));
    return XXH64_digest(state.get());
  }
  void Forget(uint64_t id) { states_.erase(id); }

 private:
  struct Free {
    void operator()(XXH64_state_t* state) const { XXH64_freeState(state); }
  };
  std::map<uint64_t, std::unique_ptr<XXH64_state_t, Free>> states_;
};

Engine::Engine() : hashes_(std::make_unique<LogitsHashes>()) {}
Engine::~Engine() = default;

absl::StatusOr<std::unique_ptr<Engine>> Engine::Create(const ModelConfig& config, StageWeights weights,
                                                       const ProcessGrid& grid, const EngineOptions& options,
                                                       Backend& backend, Communicator& group,
                                                       Communicator& column) {
  auto engine = std::unique_ptr<Engine>(new Engine);
  engine->config_ = config;
  engine->grid_ = grid;
  engine->backend_ = &backend;
  engine->weights_ = std::move(weights);
  TERNION_ASSIGN_OR_RETURN(
      engine->tensor_parallel_,
      TensorParallel::Create(&backend, &group, &engine->wire_bytes_, options.max_batch_tokens,
                             WidestRow(config.shape, options.max_batch_tokens), options.one_shot_tokens));
  if (grid.pp > 1) {
    TERNION_ASSIGN_OR_RETURN(
        engine->link_,
        PipelineLink::Create(&backend, &column, &group, engine->tensor_parallel_.get(), &engine->wire_bytes_,
                             options.pipeline_wire, options.max_batch_tokens, config.shape.hidden));
  }
  TERNION_ASSIGN_OR_RETURN(engine->cache_, KvCache::Create(backend, options.kv_format, options.query_bits,
                                                           engine->weights_.layer_range.size(),
                                                           options.kv_blocks, engine->weights_.shard.heads));
  TERNION_ASSIGN_OR_RETURN(engine->stage_,
                           Stage::Create(engine->config_, grid, options.wire, engine->weights_, backend,
                                         *engine->tensor_parallel_, engine->link_.get(), engine->wire_bytes_,
                                         {options.max_batch_tokens, options.max_model_len}));
  return engine;
}

absl::StatusOr<StepResult> Engine::Step(const StepPlan& plan) {
  CHECK(!has_begun(), "the steps before were finished");
  TERNION_RETURN_IF_ERROR(Begin(plan));
  return Finish();
}

absl::Status Engine::Begin(const StepPlan& plan) {
  for (uint64_t id : plan.released) hashes_->Forget(id);
  std::vector<int32_t> ids;
  std::vector<KvSlice> slices;
  for (const StepSequence& sequence : plan.sequences) {
    slices.push_back({static_cast<int64_t>(ids.size()), static_cast<int64_t>(sequence.tokens.size()),
                      sequence.position, sequence.block_table});
    ids.insert(ids.end(), sequence.tokens.begin(), sequence.tokens.end());
  }
  TERNION_RETURN_IF_ERROR(stage_->Forward(ids, slices, *cache_));
  Begun begun;
  begun.result.step = plan.step;
  if (grid_.last_stage()) {
    TERNION_ASSIGN_OR_RETURN(begun, BeginAnswer(plan));
  }
  begun_.push_back(std::move(begun));
  return absl::OkStatus();
}

bool Engine::AnswerReady() { return has_begun() && (begun_.front().drawn.empty() || stage_->DrawnReady()); }

absl::StatusOr<StepResult> Engine::Finish() {
  CHECK(has_begun(), "a step was begun");
  Begun begun = std::move(begun_.front());
  begun_.pop_front();
  if (!begun.drawn.empty()) {
    const std::vector<int32_t> ids = stage_->TakeDrawn(static_cast<int64_t>(begun.drawn.size()));
    for (size_t i = 0; i < ids.size(); ++i) begun.result.sequences[begun.drawn[i]].token = ids[i];
  }
  if (grid_.last_stage()) TERNION_RETURN_IF_ERROR(tensor_parallel_->Health());
  return std::move(begun.result);
}

absl::StatusOr<bool> Engine::Progress() {
  if (link_ == nullptr) return false;
  return link_->Progress();
}

absl::StatusOr<Engine::Begun> Engine::BeginAnswer(const StepPlan& plan) {
  // Which sequence a request is of, which of its tokens, and where its answer goes.
  struct Asked {
    const StepSequence* sequence;
    int64_t token;
    size_t answer;
  };
  Begun begun;
  StepResult& result = begun.result;
  result.step = plan.step;
  std::vector<Asked> asked;
  std::vector<Stage::LogitsRequest> requests;
  int32_t row = 0;
  for (const StepSequence& sequence : plan.sequences) {
    const auto tokens = static_cast<int64_t>(sequence.tokens.size());
    const bool scores = !sequence.targets.empty();
    for (int64_t i = 0; i < tokens; ++i, ++row) {
      if (!scores && !(sequence.sample && i == tokens - 1)) continue;
      asked.push_back({&sequence, i, result.sequences.size()});
      requests.push_back({row, scores || sequence.hash_logits, {}});
      if (!scores) requests.back().sample = DrawAt(sequence.sampling, sequence.sample_index);
    }
    if (!scores && !sequence.sample) continue;
    result.sequences.emplace_back();
    result.sequences.back().id = sequence.id;
  }
  if (requests.empty()) return begun;
  if (std::none_of(requests.begin(), requests.end(), [](const auto& request) { return request.whole; })) {
    TERNION_RETURN_IF_ERROR(stage_->Draw(row, requests));
    if (grid_.rank == grid_.sampler_rank()) {
      for (const Asked& one : asked) begun.drawn.push_back(one.answer);
    }
    return begun;
  }
  const auto take = [&](int64_t index, absl::Span<const float> logits, int32_t id) {
    const auto& [sequence, token, answer] = asked[index];
    SequenceResult& to = result.sequences[answer];
    if (!sequence->targets.empty()) {
      to.negative_log_likelihood += NegativeLogLikelihood(logits, sequence->targets[token]);
      return;
    }
    if (sequence->hash_logits) to.logits_hash = hashes_->Add(sequence->id, logits);
    to.token = id;
  };
  TERNION_RETURN_IF_ERROR(stage_->Logits(row, requests, take));
  return begun;
}

int64_t WidestRow(const ModelShape& shape, int64_t tokens) {
  const int64_t logits = (Stage::kHeadRows * shape.vocab + tokens - 1) / tokens;
  return std::max({shape.hidden, int64_t{shape.heads} * shape.head_dim, shape.ffn, logits});
}

}  // namespace ternion
