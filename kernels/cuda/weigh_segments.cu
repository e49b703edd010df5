// What segments of rows weigh in a draw: a block a segment, a thread a column.
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/draw_row.cuh"

namespace ternion::cuda {
namespace {

constexpr int kThreads = static_cast<int>(kVocabSegment);

__global__ void __launch_bounds__(kThreads) WeighKernel(const float* logits, int n, const Candidate* lists,
                                                        int k, const SampleRow* rows, uint64_t* sums) {
  StartNext();
  WaitForPrevious();
  const int64_t t = blockIdx.y;
  const SampleRow how = rows[t];
  if (how.takes_largest()) return;
  const Weights weights(MostLogit(ListedRow{lists + t * k, k}), how, how.min_p);
  const int column = static_cast<int>(blockIdx.x * kThreads + threadIdx.x);
  const uint64_t sum = BlockSum<kThreads>(column < n ? weights.Of(logits[t * n + column]) : 0);
  if (threadIdx.x == 0) sums[t * gridDim.x + blockIdx.x] = sum;
}

}  // namespace

void CudaBackend::WeighSegments(TensorView<const float> logits, TensorView<const Candidate> lists,
                                absl::Span<const SampleRow> rows_host, TensorView<uint64_t> sums) {
  const int64_t rows = logits.rows();
  CHECK(lists.rows() == rows && static_cast<int64_t>(rows_host.size()) == rows && sums.rows() == rows &&
            sums.cols() * kVocabSegment >= logits.cols(),
        "WeighSegments shapes");
  if (sums.empty()) return;
  const dim3 grid(static_cast<unsigned>(sums.cols()), static_cast<unsigned>(rows));
  Launch(stream_, WeighKernel, {grid, dim3(kThreads)}, logits.data(), static_cast<int>(logits.cols()),
         lists.data(), static_cast<int>(lists.cols()), staging_.Upload(rows_host), sums.data());
}

}  // namespace ternion::cuda
