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
// those that one rank would draw from whole rows, which travel only where nothing else will do:
//   the largest, top_k up to kMostListed   every rank's largest logits (Backend::Shortlist)
//   all, all but by min_p                  the largest logit, what 256 columns weigh together, and the column found
//   top_p alone, a larger top_k            whole rows
class Draws {
 public:
  static constexpr int64_t kMostListed = 1024;

  // columns[r] is how many rank r has, whole segments (Backend::WeighSegments); `most_rows`: of a call.
  static absl::StatusOr<std::unique_ptr<Draws>> Create(Backend& backend, TensorParallel& ranks,
                                                       std::vector<int64_t> columns, int64_t most_rows);

  // ids[t] = the column drawn by rows_host[t]. Every rank calls it; the first one has the ids, all where
  // TensorParallel::TakesDrawn.                      shard [T, columns[rank]], ids [1, T]
  absl::Status Draw(TensorView<const float> shard, absl::Span<const SampleRow> rows_host,
                    TensorView<int32_t> ids);
  // Whole rows, on every rank; good until the next call of either.   shard [T, columns[rank]] -> [T, vocab]
  absl::StatusOr<TensorView<const float>> Whole(TensorView<const float> shard);

 private:
  // What must travel for a draw.
  enum class Needs : uint8_t { kList, kWeights, kRow };

  Draws() = default;
  Needs NeedsOf(const SampleRow& how) const;
  absl::StatusOr<TensorView<const Candidate>> GatherLists(TensorView<const float> shard,
                                                          absl::Span<const SampleRow> rows_host);
  absl::Status DrawSpread(TensorView<const float> shard, TensorView<const Candidate> lists,
                          absl::Span<const SampleRow> rows_host, TensorView<int32_t> ids);
  // Every rank's candidates side by side, in `all`.
  absl::StatusOr<TensorView<const Candidate>> Gather(TensorView<Candidate> mine, const Buffer& all);
  // Of the rows [begin, end).
  absl::Status DrawFromWhole(TensorView<const float> shard, absl::Span<const SampleRow> rows_host,
                             size_t begin, size_t end, TensorView<int32_t> ids);

  Backend* backend_ = nullptr;
  TensorParallel* ranks_ = nullptr;
  std::vector<int64_t> columns_;
  std::vector<int64_t> segments_;  // of each rank, with those that pad them
  int64_t vocab_ = 0;
  int64_t first_ = 0;      // this rank's first column
  int64_t own_ = 0;        // and segment, among all ranks'
  int64_t most_list_ = 0;  // columns of a list
  // Where there are several ranks.
  Buffer whole_;     // float32 [most_rows, vocab]
  Buffer list_;      // Candidate [most_rows, kMostListed]: this rank's
  Buffer lists_;     // Candidate [most_rows, ranks * kMostListed]
  Buffer found_;     // Candidate [most_rows, ranks * 2]
  Buffer sums_;      // uint64 [most_rows, segments here]
  Buffer all_sums_;  // uint64 [most_rows, segments]
};

}  // namespace ternion
