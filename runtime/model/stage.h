#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "kernels/backend.h"
#include "kernels/delayed_reads.h"
#include "parallel/process_grid.h"
#include "parallel/tensor_parallel.h"
#include "runtime/cache/kv_cache.h"
#include "runtime/model/config.h"
#include "runtime/model/layer.h"
#include "runtime/model/weights.h"
#include "runtime/model/workspace.h"
#include "runtime/trace/trace.h"

namespace ternion {

// A rank's part of the model: its stage's layers, its shard of each, and what stands before and after them.
class Stage {
 public:
  struct Limits {
    int64_t max_batch_tokens = 512;
    int64_t max_positions = 2048;
  };
  // Rows of logits that are made at once; bounds the buffer for [rows, vocab].
  static constexpr int64_t kHeadRows = 64;
  // Steps of at most this many tokens are recorded and replayed (Backend::Replay): what the host would do for each
  // kernel would take longer than the kernel.
  static constexpr int64_t kReplayedTokens = 64;

  // `weights`, `ranks`, `link` (null without a pipeline) and `counters` must outlive the stage.
  static absl::StatusOr<std::unique_ptr<Stage>> Create(const ModelConfig& config, const ProcessGrid& grid,
                                                       WireFormat wire, const StageWeights& weights,
                                                       Backend& backend, TensorParallel& ranks,
                                                       PipelineLink* link, WireBytes& counters,
                                                       Limits limits);

  // Runs the step's tokens (ids [T]) through the stage's layers: from the embedding or the previous stage, to the next
  // one; the last stage keeps the residual for Logits. An id < 0 stands for the ~id-th of those that the step before drew,
  // where TakesDrawn.
  absl::Status Forward(absl::Span<const int32_t> ids, absl::Span<const KvSlice> slices, const KvCache& cache);

  // See Engine::UseTrace.
  void UseTrace(Trace* trace) { trace_ = trace; }

  bool TakesDrawn() const { return grid_.pp == 1 && ranks_->TakesDrawn(); }
  // See TensorParallel::OpenTable; on the first stage.
  absl::Status OpenTable(GatherStrings gather);

  // What is wanted of the logits of one row of a step.
  struct LogitsRequest {
    int32_t row = 0;
    bool whole = false;               // all of them, in host memory
    std::optional<SampleRow> sample;  // an id drawn from them; nothing else leaves the device
  };
  // `index` counts the requests; `logits` [vocab] is empty unless wanted whole, `id` is -1 unless drawn.
  using TakeLogits = std::function<void(int64_t index, absl::Span<const float> logits, int32_t id)>;
  // Last stage, after Forward of T tokens; rows ascend. Every rank of the stage takes part, the first one gets answers.
  absl::Status Logits(int64_t tokens, absl::Span<const LogitsRequest> requests, const TakeLogits& take);

  // The same in two halves, where ids alone are wanted, so that the next step can be enqueued before this one's ids have
  // come. Every rank of the stage calls Draw; the first one then has the ids, oldest step first: DrawnReady does not
  // wait, TakeDrawn does.
  absl::Status Draw(int64_t tokens, absl::Span<const LogitsRequest> requests);
  bool DrawnReady() { return reads_->Ready(); }
  std::vector<int32_t> TakeDrawn(int64_t requests);

  // Called with the residual after each layer [owned, h], layer 0 being what the stage started from; for tests.
  using Observer = std::function<void(int64_t layer, TensorView<const float> residual)>;
  void Observe(Observer observer) { observer_ = std::move(observer); }

 private:
  Stage() = default;
  // What the stage starts from: embedded ids, or what the previous stage sends.
  absl::Status MakeInput(absl::Span<const int32_t> ids, TensorView<float> x);
  absl::Status AllLayers(absl::Span<const KvSlice> slices, const KvCache& cache, int64_t tokens,
                         TensorView<float> x);
  absl::Status RunLayers(const KvSlices& slices, const KvCache& cache, int64_t tokens, TensorView<float> x);
  absl::Status ReplayLayers(const KvSlices& slices, const KvCache& cache, int64_t tokens,
                            TensorView<float> x);
  // The final norm of the rows asked for, on every rank.
  absl::Status NormalizeRows(int64_t tokens, absl::Span<const LogitsRequest> requests,
                             TensorView<float> normed);
  // Of kHeadRows requests at a time, the first rank draws the ids, every rank where TakesDrawn. On the first one `use` then
  // gets the requests, the first one's number, their logits and the ids.
  using UseLogits = absl::FunctionRef<void(absl::Span<const LogitsRequest> requests, int64_t first,
                                           TensorView<const float> logits, TensorView<const int32_t> drawn)>;
  absl::Status MakeLogits(int64_t tokens, absl::Span<const LogitsRequest> requests, UseLogits use);
  void DrawIds(absl::Span<const LogitsRequest> requests, TensorView<const float> logits,
               TensorView<int32_t> drawn);
  void AnswerRequests(absl::Span<const LogitsRequest> requests, int64_t first, TensorView<const float> logits,
                      TensorView<const int32_t> drawn, const TakeLogits& take);

  const ModelConfig* config_ = nullptr;
  ProcessGrid grid_;
  const StageWeights* weights_ = nullptr;
  Backend* backend_ = nullptr;
  TensorParallel* ranks_ = nullptr;
  PipelineLink* link_ = nullptr;
  std::vector<Layer> layers_;
  std::vector<int64_t> vocab_columns_;  // of each rank
  Workspace workspace_;
  Buffer cos_sin_;     // float32 [positions, head_dim]
  Buffer selected_;    // float32 [kHeadRows, h], last stage
  Buffer normed_;      // float32 [kHeadRows, h]
  Buffer logits_;      // float32 [kHeadRows, vocab shard]
  Buffer all_logits_;  // float32 [kHeadRows, vocab], where several ranks make them
  Buffer drawn_;       // int32 [1, T], last stage: of the step's requests
  std::vector<float> host_logits_;
  std::unique_ptr<DelayedReads> reads_;
  WireBytes* counters_ = nullptr;
  std::map<uint64_t, WireCount> replayed_bytes_;  // what the recorded step of a key sends
  Observer observer_;
  Trace* trace_ = nullptr;
};

}  // namespace ternion
