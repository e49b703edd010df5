#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "kernels/backend.h"
#include "kernels/delayed_reads.h"
#include "parallel/tensor_parallel.h"
#include "runtime/model/config.h"
#include "runtime/model/draws.h"
#include "runtime/model/weights.h"
#include "runtime/serving/request.h"

namespace ternion {

// What is wanted of the logits of one row of a step.
struct LogitsRequest {
  int32_t row = 0;
  std::optional<SampleRow> sample;          // an id is drawn
  absl::Span<const LogitChange> changes{};  // before the draw; their `row` is not read
  absl::Span<const uint32_t> mask{};        // after the changes: Backend::MaskLogits; empty: all may be drawn
  int32_t logprobs = -1;                    // of how many of the likeliest ids, besides that of
  int32_t target = -1;  // this one; -1: of the drawn one. Changes and mask do not show in them.
  bool whole = false;   // all of the row as it was before these, in host memory
};
struct LogitsAnswer {
  int32_t id = -1;  // -1: none was drawn
  std::optional<TokenLogprobs> logprobs;
};

// What stands behind the last stage's layers: the final norm and the head, for the rows that are asked for, and what is
// asked of their logits. Only what was asked for leaves the device.
class Logits {
 public:
  // Rows of logits that are made at once; bounds the buffer for [rows, vocab].
  static constexpr int64_t kRows = 64;

  // `config`, `weights`, `backend` and `ranks` must outlive it. `most`: requests of a step.
  static absl::StatusOr<std::unique_ptr<Logits>> Create(const ModelConfig& config,
                                                        const StageWeights& weights, Backend& backend,
                                                        TensorParallel& ranks, int64_t most);

  // `index` counts the requests; `logits` [vocab].
  using TakeWhole = absl::FunctionRef<void(int64_t index, absl::Span<const float> logits)>;
  // Enqueues what is to be done for a step of T tokens; rows ascend. Every rank of the stage takes part. The first one gets
  // whole rows at once, and waits for them; answers can be taken later.        x [owned, h]: the residual
  absl::Status Begin(int64_t tokens, TensorView<const float> x, absl::Span<const LogitsRequest> requests,
                     TakeWhole take);

  // On the stage's first rank: the answers of steps that asked for any other thing than whole rows, oldest first. Ready does
  // not wait, Take does.
  bool Ready() { return reads_->Ready(); }
  std::vector<LogitsAnswer> Take();

  // The ids that the last step drew, by request.                               [1, most]
  TensorView<const int32_t> drawn() const { return drawn_.As<const int32_t>(1, most_); }

 private:
  using Requests = absl::Span<const LogitsRequest>;
  // What Take is to read of up to kRows requests.
  struct Asked {
    size_t requests = 0;
    std::vector<size_t> draws;         // requests that draw an id
    std::vector<LogprobRow> logprobs;  // rows are requests
    std::vector<int32_t> likeliest;    // of each of these, so many ids
    int32_t most_likeliest = 0;

    bool answers() const { return !draws.empty() || !logprobs.empty(); }
  };
  static Asked AskedOf(Requests requests);

  Logits() = default;
  absl::Status BeginSome(int64_t tokens, TensorView<const float> x, Requests requests, const Asked& asked,
                         int64_t first, TakeWhole take);
  // The final norm of the rows asked for, on every rank.
  absl::Status NormalizeRows(int64_t tokens, TensorView<const float> x, Requests requests,
                             TensorView<float> normed);
  // The requests' changes of this rank's columns.
  std::vector<LogitChange> ChangesHere(Requests requests) const;
  absl::StatusOr<TensorView<float>> Unchanged(size_t changes);
  // Applies the requests' masks; false: there are none.
  bool MaskRows(Requests requests, TensorView<float> shard);
  void TellWhole(Requests requests, int64_t first, TensorView<const float> logits, TakeWhole take);
  void StartLogprobs(const Asked& asked, TensorView<const float> logits, TensorView<const int32_t> drawn);
  void TakeSome(const Asked& asked, LogitsAnswer* answers);

  const ModelConfig* config_ = nullptr;
  const StageWeights* weights_ = nullptr;
  Backend* backend_ = nullptr;
  TensorParallel* ranks_ = nullptr;
  int64_t most_ = 0;
  Buffer selected_;   // float32 [kRows, h]
  Buffer segments_;   // float32 [kRows, segments of h]
  Buffer normed_;     // float32 [kRows, h]
  Buffer shard_;      // float32 [kRows, vocab here]
  Buffer unchanged_;  // float32 [1, changes]
  Buffer drawn_;      // int32 [1, most]
  Buffer top_ids_;    // int32 [kRows, kMostLogprobs]
  Buffer logprobs_;   // float32 [kRows, 1 + kMostLogprobs]
  std::unique_ptr<Draws> draws_;
  std::unique_ptr<DelayedReads> reads_;
  std::deque<std::vector<Asked>> begun_;
  std::vector<float> host_rows_;
};

}  // namespace ternion
