#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "kernels/backend.h"
#include "parallel/process_grid.h"
#include "parallel/tensor_parallel.h"
#include "runtime/cache/kv_cache.h"
#include "runtime/model/config.h"
#include "runtime/model/layer.h"
#include "runtime/model/weights.h"
#include "runtime/model/workspace.h"

namespace ternion {

// A rank's part of the model: its stage's layers, its shard of each, and what stands before and after them.
class Stage {
 public:
  struct Limits {
    int64_t max_batch_tokens = 512;
    int64_t max_positions = 2048;
  };
  // Rows of logits that are made at once; bounds the buffer for [rows, vocab].
  static constexpr int64_t kHeadRows = 32;

  // `weights`, `ranks` and `link` (null without a pipeline) must outlive the stage.
  static absl::StatusOr<std::unique_ptr<Stage>> Create(const ModelConfig& config, const ProcessGrid& grid,
                                                       WireFormat wire, const StageWeights& weights,
                                                       Backend& backend, TensorParallel& ranks,
                                                       PipelineLink* link, Limits limits);

  // Runs the step's tokens (ids [T]) through the stage's layers: from the embedding or the previous stage, to the next
  // one; the last stage keeps the residual for Logits.
  absl::Status Forward(absl::Span<const int32_t> ids, absl::Span<const KvSlice> slices, const KvCache& cache);

  // Called with one row of logits [vocab], in host memory; `index` counts the asked-for rows.
  using LogitsRow = std::function<void(int64_t index, absl::Span<const float> logits)>;
  // Last stage, after Forward of T tokens: the logits of these rows (ascending). Every rank of the stage takes part,
  // the first one gets the rows.
  absl::Status Logits(int64_t tokens, absl::Span<const int32_t> rows, const LogitsRow& take);

  // Called with the residual after each layer [owned, h], layer 0 being what the stage started from; for tests.
  using Observer = std::function<void(int64_t layer, TensorView<const float> residual)>;
  void Observe(Observer observer) { observer_ = std::move(observer); }

 private:
  Stage() = default;
  absl::Status HeadRows(TensorView<const float> selected, int64_t first, const LogitsRow& take);

  const ModelConfig* config_ = nullptr;
  ProcessGrid grid_;
  const StageWeights* weights_ = nullptr;
  Backend* backend_ = nullptr;
  TensorParallel* ranks_ = nullptr;
  PipelineLink* link_ = nullptr;
  std::vector<Layer> layers_;
  std::vector<int64_t> vocab_columns_;  // of each rank
  Workspace workspace_;
  Buffer cos_sin_;       // float32 [positions, head_dim]
  Buffer all_residual_;  // float32 [T, h], last stage
  Buffer selected_;      // float32 [kHeadRows, h]
  Buffer logits_;        // float32 [kHeadRows, vocab shard]
  Buffer all_logits_;    // float32 [kHeadRows, vocab]
  std::vector<float> host_logits_;
  Observer observer_;
};

}  // namespace ternion
