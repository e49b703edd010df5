// Changes of single logits: a thread each.
#include <algorithm>

#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/device.cuh"

namespace ternion::cuda {
namespace {

constexpr int kThreads = 256;

LaunchShape AThreadAChange(size_t changes) {
  return {dim3(static_cast<unsigned>(CeilDivide(static_cast<int64_t>(changes), kThreads))), dim3(kThreads)};
}

__global__ void __launch_bounds__(kThreads)
    ChangeKernel(float* logits, int64_t vocab, const LogitChange* changes, int64_t count, float* before) {
  StartNext();
  WaitForPrevious();
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= count) return;
  const LogitChange change = changes[i];
  float& logit = logits[change.row * vocab + change.column];
  if (before != nullptr) before[i] = logit;
  const float biased = logit + change.add;
  const float repeated = biased > 0 ? biased / change.repetition : biased * change.repetition;
  logit = repeated - change.subtract;
}

__global__ void __launch_bounds__(kThreads) RestoreKernel(const float* before, const LogitChange* changes,
                                                          int64_t count, float* logits, int64_t vocab) {
  StartNext();
  WaitForPrevious();
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i < count) logits[changes[i].row * vocab + changes[i].column] = before[i];
}

void CheckWithin(TensorView<float> logits, absl::Span<const LogitChange> changes) {
  CHECK(std::all_of(changes.begin(), changes.end(),
                    [&](const LogitChange& change) {
                      return change.row >= 0 && change.row < logits.rows() && change.column >= 0 &&
                             change.column < logits.cols();
                    }),
        "a change lies within the logits");
}

}  // namespace

void CudaBackend::ChangeLogits(TensorView<float> logits, absl::Span<const LogitChange> changes_host,
                               TensorView<float> before) {
  const auto count = static_cast<int64_t>(changes_host.size());
  CHECK(before.empty() || before.size() == count, "ChangeLogits shapes");
  CheckWithin(logits, changes_host);
  if (count == 0) return;
  Launch(stream_, ChangeKernel, AThreadAChange(changes_host.size()), logits.data(), logits.cols(),
         staging_.Upload(changes_host), count, before.data());
}

void CudaBackend::RestoreLogits(TensorView<const float> before, absl::Span<const LogitChange> changes_host,
                                TensorView<float> logits) {
  const auto count = static_cast<int64_t>(changes_host.size());
  CHECK(before.size() == count, "RestoreLogits shapes");
  CheckWithin(logits, changes_host);
  if (count == 0) return;
  Launch(stream_, RestoreKernel, AThreadAChange(changes_host.size()), before.data(),
         staging_.Upload(changes_host), count, logits.data(), logits.cols());
}

}  // namespace ternion::cuda
