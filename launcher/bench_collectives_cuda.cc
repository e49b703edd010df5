#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/graph_timer.h"
#include "kernels/cuda/peer_norm.h"
#include "kernels/device_memory_query.h"
#include "kernels/status.h"
#include "launcher/bench_collectives.h"
#include "parallel/nccl_all_reduce.h"
#include "parallel/nccl_communicator.h"

namespace ternion {
namespace {

using cuda::CudaBackend;

constexpr int kMostLaunches = 200;  // of a graph

class CudaCollectives final : public CollectiveDevice {
 public:
  explicit CudaCollectives(MpiSession& mpi) : mpi_(mpi) {}

  absl::Status Open() {
    TERNION_ASSIGN_OR_RETURN(backend_, CudaBackend::Create(mpi_.local_rank()));
    TERNION_ASSIGN_OR_RETURN(group_,
                             MakeNcclCommunicator(*backend_, mpi_, 0, mpi_.rank(), NcclUse::kCollectives));
    TERNION_ASSIGN_OR_RETURN(all_reduce_, MakeNcclAllReduce(*backend_, mpi_));
    return absl::OkStatus();
  }

  std::string Title() const override {
    return absl::StrCat("cuda (", cuda().properties().name, "), ", mpi_.size(), " ranks; in CUDA graphs");
  }
  Backend& backend() override { return *backend_; }
  Communicator& group() override { return *group_; }
  std::unique_ptr<PeerExchange> MakePeers(int64_t tokens, int64_t hidden) override {
    auto peers = MakeCudaPeerExchange(*backend_, mpi_.rank(), mpi_.size(), tokens, hidden, hidden,
                                      [this](std::string_view mine) { return mpi_.AllGatherStrings(mine); });
    return peers.ok() ? *std::move(peers) : nullptr;
  }

  std::string SumName() const override { return "NCCL fp16"; }
  int64_t SumBytes() const override { return 2; }
  absl::Status Sum(const void* part, void* sum, int64_t count) override {
    return all_reduce_->Enqueue(SumType::kFloat16, part, sum, count);
  }
  absl::Status SumInt32(const int32_t* part, int32_t* sum, int64_t count) override {
    return all_reduce_->Enqueue(SumType::kInt32, part, sum, count);
  }
  // The kernel that the exchange ends with, among no peers.
  void AddNormQuantize(const NormSums& sums) override {
    cuda::PeerReduceNorm(cuda(), cuda::PeerInboxes(), 0, sums.partial.size(),
                         {sums.partial, sums.row_scale, sums.weight_scale, sums.residual, kBenchEps,
                          sums.norm_weight, /*int4=*/true, sums.out});
  }

  int64_t Copies(int64_t bytes) const override { return cuda::RotatedCopies(bytes); }
  absl::StatusOr<double> Seconds(int64_t copies, double about_seconds, int repetitions,
                                 absl::FunctionRef<absl::Status(int i)> enqueue) override {
    absl::Status status;
    const auto keep = [&](int i) { status.Update(enqueue(i)); };
    // An even number: inboxes take turns.
    const int launches = (std::min(cuda::RotatedLaunches(copies, about_seconds), kMostLaunches) + 1) / 2 * 2;
    mpi_.AllGatherStrings("");
    const double seconds = SlowestOf(mpi_, cuda::MedianSeconds(cuda(), launches, repetitions, keep));
    TERNION_RETURN_IF_ERROR(status);
    return seconds;
  }

 private:
  CudaBackend& cuda() const { return static_cast<CudaBackend&>(*backend_); }

  MpiSession& mpi_;
  std::unique_ptr<Communicator> group_;  // these two go after the backend, whose records hold on to them
  std::unique_ptr<NcclAllReduce> all_reduce_;
  std::unique_ptr<Backend> backend_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<CollectiveDevice>> OpenCudaCollectives(MpiSession& mpi) {
  std::string trouble;
  if (!HasNccl()) trouble = "this build has no NCCL";
  if (CudaDeviceCount() < mpi.local_size()) trouble = "every rank needs a CUDA device of its own";
  for (const std::string& each : mpi.AllGatherStrings(trouble)) {
    if (!each.empty()) return absl::UnavailableError(each);
  }
  auto device = std::make_unique<CudaCollectives>(mpi);
  TERNION_RETURN_IF_ERROR(device->Open());
  return device;
}

}  // namespace ternion
