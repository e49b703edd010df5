#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "kernels/backend.h"
#include "parallel/tensor_parallel.h"

namespace ternion {

// Draws from rows of logits whose columns, the vocabulary, are spread over the ranks of a tensor-parallel group. The ids are
// those that one rank would draw from whole rows.
class Draws {
 public:
  // columns[r] is how many rank r has; `most_rows`: of a call.
  static absl::StatusOr<std::unique_ptr<Draws>> Create(Backend& backend, TensorParallel& ranks,
                                                       std::vector<int64_t> columns, int64_t most_rows);

  // ids[t] = the column drawn by rows_host[t]. Every rank calls it; the first one has the ids, all where
  // TensorParallel::TakesDrawn.                      shard [T, columns[rank]], ids [1, T]
  absl::Status Draw(TensorView<const float> shard, absl::Span<const SampleRow> rows_host,
                    TensorView<int32_t> ids);
  // Whole rows, on every rank; good until the next call of either.   shard [T, columns[rank]] -> [T, vocab]
  absl::StatusOr<TensorView<const float>> Whole(TensorView<const float> shard);

 private:
  Draws() = default;

  Backend* backend_ = nullptr;
  TensorParallel* ranks_ = nullptr;
  std::vector<int64_t> columns_;
  int64_t vocab_ = 0;
  Buffer whole_;  // float32 [most_rows, vocab], where there are several ranks
};

}  // namespace ternion
