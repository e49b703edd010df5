#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/backend.h"
#include "kernels/kv.h"
#include "parallel/communicator.h"
#include "parallel/process_grid.h"
#include "parallel/tensor_parallel.h"
#include "runtime/cache/kv_cache.h"
#include "runtime/model/sampler.h"
#include "runtime/model/stage.h"
#include "runtime/model/weights.h"
#include "runtime/serving/step_plan.h"
#include "runtime/trace/trace.h"

namespace ternion {

struct EngineOptions {
  WireFormat wire = WireFormat::kExact;
  WireFormat pipeline_wire = WireFormat::kExact;
  KvFormat kv_format = KvFormat::kF16;
  int query_bits = 0;  // KvLayer's
  int64_t kv_blocks = 0;
  int64_t max_batch_tokens = 512;
  int64_t max_model_len = 2048;
  int64_t one_shot_tokens = TensorParallel::kOneShotTokens;
};

// One rank: its weights, its KV cache, and the step. All ranks of a job run the same plans in the same order.
class Engine {
 public:
  // `group`: the ranks of this stage, by tp rank; `column`: the ranks with this tp rank, by stage. Both, and
  // `backend`, must outlive the engine.
  static absl::StatusOr<std::unique_ptr<Engine>> Create(const ModelConfig& config, StageWeights weights,
                                                        const ProcessGrid& grid, const EngineOptions& options,
                                                        Backend& backend, Communicator& group,
                                                        Communicator& column);
  ~Engine();

  // On the sampling rank the plan's answers; on others a result without sequences. An error means that the group can
  // no longer step.
  absl::StatusOr<StepResult> Step(const StepPlan& plan);

  // Step in two halves: a device that works by itself goes on to a step that was begun before the answer to the one
  // before was taken. Finish gives the answers in the order of the plans, and waits for the oldest.
  absl::Status Begin(const StepPlan& plan);
  bool has_begun() const { return !begun_.empty(); }
  // Whether Finish would not wait.
  bool AnswerReady();
  absl::StatusOr<StepResult> Finish();

  // To be called between steps until it is false: true while messages to the next stage have not left.
  absl::StatusOr<bool> Progress();

  // Steps and their parts are recorded from now on; `trace` outlives the engine's last step. On a device a span is the time
  // that the host takes to enqueue the work, but for those that wait for answers.
  void UseTrace(Trace* trace);

  // See TensorParallel::UsePeers.
  void UsePeers(std::unique_ptr<PeerExchange> peers) { tensor_parallel_->UsePeers(std::move(peers)); }
  // See TensorParallel::OpenTable; on the first stage, after UsePeers.
  absl::Status OpenTable(GatherStrings gather) { return stage_->OpenTable(gather); }
  // Whether plans may hold tokens that the step before draws.
  bool TakesDrawn() const { return stage_->TakesDrawn(); }

  const WireBytes& wire_bytes() const { return wire_bytes_; }
  WeightSkips weight_skips() const { return backend_->weight_skips(); }
  Stage& stage() { return *stage_; }
  const ProcessGrid& grid() const { return grid_; }

 private:
  class LogitsHashes;  // running XXH64 of the sequences that asked for it

  Engine();
  // Where an answer of the stage goes.
  struct Place {
    size_t sequence = 0;     // of the result's
    bool of_prompt = false;  // it tells about a token of the prompt, not about the one that is drawn
  };
  // What a plan asks of its logits: of each request the sequence, which of its tokens, and the place.
  struct Questions {
    std::vector<LogitsRequest> requests;
    std::vector<std::pair<const StepSequence*, size_t>> askers;
    std::vector<Place> places;
  };
  // A step whose answer has not been taken.
  struct Begun {
    StepResult result;
    std::vector<Place> places;  // of the answers that the stage has yet to give
  };
  absl::StatusOr<Begun> BeginAnswer(const StepPlan& plan);
  // Makes room in `result` for the sequences that ask.
  static Questions QuestionsOf(const StepPlan& plan, StepResult& result);
  static void TakeAnswer(LogitsAnswer answer, Place place, StepResult& result);

  ModelConfig config_;
  ProcessGrid grid_;
  Backend* backend_ = nullptr;
  StageWeights weights_;
  WireBytes wire_bytes_;
  std::unique_ptr<TensorParallel> tensor_parallel_;
  std::unique_ptr<PipelineLink> link_;
  std::unique_ptr<KvCache> cache_;
  std::unique_ptr<Stage> stage_;
  std::unique_ptr<LogitsHashes> hashes_;
  std::deque<Begun> begun_;
  Trace* trace_ = nullptr;
};

// Channels of float32 a row, for steps of `tokens` rows, that bound all a tensor-parallel group exchanges.
int64_t WidestRow(const ModelShape& shape, int64_t tokens);

}  // namespace ternion
