#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "kernels/backend.h"
#include "parallel/process_grid.h"
#include "parallel/tensor_parallel.h"
#include "runtime/cache/kv_cache.h"
#include "runtime/model/config.h"
#include "runtime/model/float_layer.h"
#include "runtime/model/layer.h"
#include "runtime/model/logits.h"
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

  // See model/logits.h; last stage, after Forward of T tokens.
  absl::Status BeginLogits(int64_t tokens, absl::Span<const LogitsRequest> requests, Logits::TakeWhole take);
  bool AnswersReady() { return logits_->Ready(); }
  std::vector<LogitsAnswer> TakeAnswers() { return logits_->Take(); }

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
  // Layer i; `input_made` as Layer::Forward has it, of the layer before and then of this one.
  absl::Status RunLayer(size_t i, const KvSlices& slices, const KvLayer& cache, int64_t tokens,
                        TensorView<float> x, bool& input_made);
  absl::Status ReplayLayers(const KvSlices& slices, const KvCache& cache, int64_t tokens,
                            TensorView<float> x);
  const ModelConfig* config_ = nullptr;
  ProcessGrid grid_;
  const StageWeights* weights_ = nullptr;
  Backend* backend_ = nullptr;
  TensorParallel* ranks_ = nullptr;
  PipelineLink* link_ = nullptr;
  // The layers, in one of these.
  std::vector<Layer> layers_;
  std::vector<FloatLayer> float_layers_;
  Workspace workspace_;
  Buffer cos_sin_;                  // float32 [positions, head_dim]
  std::unique_ptr<Logits> logits_;  // last stage
  WireBytes* counters_ = nullptr;
  std::map<uint64_t, WireCount> replayed_bytes_;  // what the recorded step of a key sends
  Observer observer_;
  Trace* trace_ = nullptr;
};

}  // namespace ternion
