#include "parallel/nccl_all_reduce.h"

#include <utility>

#include "kernels/status.h"
#include "parallel/nccl_channel.h"

namespace ternion {
namespace {

class ChannelAllReduce final : public NcclAllReduce {
 public:
  ChannelAllReduce(Backend& backend, std::unique_ptr<NcclChannel> channel)
      : stream_(static_cast<cudaStream_t>(backend.stream())), channel_(std::move(channel)) {}

  absl::Status Enqueue(SumType type, const void* part, void* sum, int64_t count) override {
    TERNION_RETURN_IF_ERROR(channel_->Ready());
    return channel_->Finish("ncclAllReduce",
                            ncclAllReduce(part, sum, static_cast<size_t>(count),
                                          type == SumType::kFloat16 ? ncclFloat16 : ncclInt32, ncclSum,
                                          channel_->get(), stream_));
  }

 private:
  const cudaStream_t stream_;
  const std::unique_ptr<NcclChannel> channel_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<NcclAllReduce>> MakeNcclAllReduce(Backend& backend, const MpiSession& mpi) {
  absl::StatusOr<std::string> made = mpi.rank() == 0 ? NewNcclId() : absl::StatusOr<std::string>("");
  const std::string id = mpi.Broadcast(made.value_or(""));
  TERNION_RETURN_IF_ERROR(made.status());
  if (id.empty()) return absl::UnavailableError("rank 0 could not start NCCL");
  TERNION_ASSIGN_OR_RETURN(std::unique_ptr<NcclChannel> channel,
                           NcclChannel::Join(id, mpi.rank(), mpi.size(), /*most_blocks=*/0));
  return std::make_unique<ChannelAllReduce>(backend, std::move(channel));
}

}  // namespace ternion
