// Shortlists: one block a row, which passes over it once for each bit of the threshold and once to write what is above it.
#include <algorithm>

#include "kernels/cuda/arg_max.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/draw_row.cuh"

namespace ternion::cuda {
namespace {

__global__ void __launch_bounds__(kDrawThreads)
    ShortlistKernel(const float* logits, int n, int first, const int32_t* counts, Candidate* lists, int k) {
  StartNext();
  WaitForPrevious();
  const WholeRow row = {logits + int64_t{blockIdx.x} * n, n};
  Candidate* const list = lists + int64_t{blockIdx.x} * k;
  const int count = counts[blockIdx.x];
  for (int i = count + static_cast<int>(threadIdx.x); i < k; i += kDrawThreads) list[i] = {-INFINITY, 0};
  int written = 0;
  VisitKept(row, LargestOfAll(row, count), [&](int i, bool keep) {
    const RunningSum kept = BlockRunningSum<kDrawThreads>(keep ? 1 : 0);
    if (keep) list[written + static_cast<int>(kept.here) - 1] = {row.Logit(i), first + i};
    written += static_cast<int>(kept.all);
    return written == count;
  });
}

}  // namespace

void CudaBackend::Shortlist(TensorView<const float> logits, int64_t first,
                            absl::Span<const int32_t> counts_host, TensorView<Candidate> lists) {
  CHECK(lists.rows() == logits.rows() && static_cast<int64_t>(counts_host.size()) == logits.rows(),
        "Shortlist shapes");
  CHECK(std::all_of(counts_host.begin(), counts_host.end(),
                    [&](int32_t n) { return n >= 1 && n <= lists.cols() && n <= logits.cols(); }),
        "a shortlist of the row's columns");
  if (logits.rows() == 0) return;
  if (std::all_of(counts_host.begin(), counts_host.end(), [](int32_t count) { return count == 1; })) {
    return ShortlistLargest(*this, logits, first, lists);
  }
  const int32_t* const counts = staging_.Upload(counts_host);
  Launch(stream_, ShortlistKernel, {dim3(static_cast<unsigned>(logits.rows())), dim3(kDrawThreads)},
         logits.data(), static_cast<int>(logits.cols()), static_cast<int>(first), counts, lists.data(),
         static_cast<int>(lists.cols()));
}

}  // namespace ternion::cuda
