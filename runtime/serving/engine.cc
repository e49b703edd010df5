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

namespace {

// What the sequence's i-th token asks of its logits, but for the row.
std::optional<LogitsRequest> RequestOf(const StepSequence& sequence, size_t i) {
  LogitsRequest request;
  if (sequence.scores()) {
    request.whole = true;
  } else if (i < sequence.targets.size()) {
    request.target = sequence.targets[i];
    request.logprobs = sequence.prompt_logprobs;
  } else if (sequence.sample && i + 1 == sequence.tokens.size()) {
    request.sample = DrawAt(sequence.sampling, sequence.sample_index);
    request.changes = sequence.changes;
    request.mask = sequence.mask;
    request.logprobs = sequence.logprobs;
    request.whole = sequence.hash_logits;
  } else {
    return std::nullopt;
  }
  return request;
}

// Whether there will be other things to take than whole rows.
bool AwaitsAnswers(absl::Span<const LogitsRequest> requests) {
  return std::any_of(requests.begin(), requests.end(), [](const LogitsRequest& request) {
    return request.sample.has_value() || request.logprobs >= 0;
  });
}

}  // namespace

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

void Engine::UseTrace(Trace* trace) {
  trace_ = trace;
  stage_->UseTrace(trace);
}

absl::StatusOr<StepResult> Engine::Step(const StepPlan& plan) {
  CHECK(!has_begun(), "the steps before were finished");
  TERNION_RETURN_IF_ERROR(Begin(plan));
  return Finish();
}

absl::Status Engine::Begin(const StepPlan& plan) {
  TraceSpan span(trace_, "step");
  span.SetStep(plan.step, plan.tokens(), static_cast<int64_t>(plan.sequences.size()));
  for (uint64_t id : plan.released) hashes_->Forget(id);
  for (const BlockCopy& copy : plan.copies) cache_->Copy(*backend_, copy);
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

bool Engine::AnswerReady() {
  return has_begun() && (begun_.front().places.empty() || stage_->AnswersReady());
}

absl::StatusOr<StepResult> Engine::Finish() {
  CHECK(has_begun(), "a step was begun");
  Begun begun = std::move(begun_.front());
  begun_.pop_front();
  if (!begun.places.empty()) {
    const TraceSpan span(trace_, "take answers");
    std::vector<LogitsAnswer> answers = stage_->TakeAnswers();
    for (size_t i = 0; i < answers.size(); ++i) {
      TakeAnswer(std::move(answers[i]), begun.places[i], begun.result);
    }
  }
  if (grid_.last_stage()) TERNION_RETURN_IF_ERROR(tensor_parallel_->Health());
  return std::move(begun.result);
}

absl::StatusOr<bool> Engine::Progress() {
  if (link_ == nullptr) return false;
  return link_->Progress();
}

absl::StatusOr<Engine::Begun> Engine::BeginAnswer(const StepPlan& plan) {
  Begun begun;
  begun.result.step = plan.step;
  Questions questions = QuestionsOf(plan, begun.result);
  const auto take_whole = [&](int64_t index, absl::Span<const float> logits) {
    const auto [sequence, token] = questions.askers[index];
    SequenceResult& to = begun.result.sequences[questions.places[index].sequence];
    if (sequence->scores()) {
      to.negative_log_likelihood += NegativeLogLikelihood(logits, sequence->targets[token]);
    } else {
      to.logits_hash = hashes_->Add(sequence->id, logits);
    }
  };
  TERNION_RETURN_IF_ERROR(stage_->BeginLogits(plan.tokens(), questions.requests, take_whole));
  if (grid_.rank == grid_.sampler_rank() && AwaitsAnswers(questions.requests)) {
    begun.places = std::move(questions.places);
  }
  return begun;
}

Engine::Questions Engine::QuestionsOf(const StepPlan& plan, StepResult& result) {
  Questions questions;
  int32_t row = 0;
  for (const StepSequence& sequence : plan.sequences) {
    for (size_t i = 0; i < sequence.tokens.size(); ++i, ++row) {
      std::optional<LogitsRequest> request = RequestOf(sequence, i);
      if (!request.has_value()) continue;
      request->row = row;
      questions.requests.push_back(*request);
      questions.askers.emplace_back(&sequence, i);
      questions.places.push_back({result.sequences.size(), i < sequence.targets.size()});
    }
    if (!sequence.asks()) continue;
    result.sequences.emplace_back();
    result.sequences.back().id = sequence.id;
  }
  return questions;
}

void Engine::TakeAnswer(LogitsAnswer answer, Place place, StepResult& result) {
  SequenceResult& to = result.sequences[place.sequence];
  if (answer.id >= 0) to.token = answer.id;
  if (!answer.logprobs.has_value()) return;
  if (place.of_prompt) {
    to.prompt_logprobs.push_back(*std::move(answer.logprobs));
  } else {
    to.logprobs = std::move(answer.logprobs);
  }
}

int64_t WidestRow(const ModelShape& shape, int64_t tokens) {
  const int64_t logits = (Logits::kRows * shape.vocab + tokens - 1) / tokens;
  return std::max({shape.hidden, int64_t{shape.heads} * shape.head_dim, shape.ffn, logits});
}

}  // namespace ternion
