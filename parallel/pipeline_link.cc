#include "kernels/check.h"
#include "kernels/status.h"
#include "parallel/byte_views.h"
#include "parallel/counted_exchange.h"
#include "parallel/tensor_parallel.h"
#include "parallel/wire_rows.h"

namespace ternion {

absl::StatusOr<std::unique_ptr<PipelineLink>> PipelineLink::Create(Backend* backend, Communicator* column,
                                                                   Communicator* group,
                                                                   TensorParallel* tensor_parallel,
                                                                   WireBytes* counters, WireFormat format,
                                                                   int64_t most_tokens, int64_t hidden) {
  CHECK(group->size() == tensor_parallel->size(), "a link and its tensor-parallel group are the same ranks");
  std::unique_ptr<PipelineLink> self(new PipelineLink);
  self->backend_ = backend;
  self->column_ = column;
  self->group_ = group;
  self->tensor_parallel_ = tensor_parallel;
  self->counters_ = counters;
  self->format_ = format;
  const int64_t row_bytes = WireRowBytes(format, hidden);
  const int64_t most_share = (most_tokens + group->size() - 1) / group->size();
  TERNION_ASSIGN_OR_RETURN(self->mine_, backend->Allocate(most_share * row_bytes));
  if (group->size() > 1) {
    TERNION_ASSIGN_OR_RETURN(self->all_, backend->Allocate(most_tokens * row_bytes));
  }
  return self;
}

absl::Status PipelineLink::Send(int64_t tokens, TensorView<const float> x) {
  CHECK(column_->rank() + 1 < column_->size(), "the last stage sends to none");
  CHECK(x.rows() == tensor_parallel_->OwnedRows(tokens).size(), "the residual of the owned rows is sent");
  const Range share = SplitEvenly(tokens, 1, group_->size(), group_->rank());
  const int64_t bytes = share.size() * WireRowBytes(format_, x.cols());
  if (bytes == 0) return absl::OkStatus();
  const int64_t first = share.begin - tensor_parallel_->OwnedRows(tokens).begin;
  EncodeRows(*backend_, format_, x.Rows(first, first + share.size()), static_cast<uint8_t*>(mine_.data()));
  return CountedSend(*column_, FrontOf(mine_, bytes), column_->rank() + 1, counters_->pipeline);
}

absl::Status PipelineLink::Recv(int64_t tokens, TensorView<float> x) {
  CHECK(column_->rank() > 0, "the first stage receives from none");
  CHECK(x.rows() == tensor_parallel_->OwnedRows(tokens).size(), "the residual of the owned rows is received");
  const int64_t row_bytes = WireRowBytes(format_, x.cols());
  const int64_t bytes = SplitEvenly(tokens, 1, group_->size(), group_->rank()).size() * row_bytes;
  if (bytes > 0) TERNION_RETURN_IF_ERROR(column_->Recv(FrontOf(mine_, bytes), column_->rank() - 1));
  if (group_->size() == 1 || tensor_parallel_->sequence_parallel(tokens)) {
    DecodeRows(*backend_, format_, static_cast<const uint8_t*>(mine_.data()), /*add=*/false, x);
    return absl::OkStatus();
  }
  std::vector<size_t> counts;
  for (int r = 0; r < group_->size(); ++r) {
    counts.push_back(SplitEvenly(tokens, 1, group_->size(), r).size() * row_bytes);
  }
  TERNION_RETURN_IF_ERROR(CountedAllGather(*group_, FrontOf(mine_, bytes), counts,
                                           FrontOf(all_, tokens * row_bytes), counters_->pipeline));
  DecodeRows(*backend_, format_, static_cast<const uint8_t*>(all_.data()), /*add=*/false, x);
  return absl::OkStatus();
}

}  // namespace ternion
