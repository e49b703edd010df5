// Masks of rows: a thread a column, so that a warp reads one word. Bound by launching; it writes what is forbidden alone.
#include <algorithm>
#include <vector>

#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/device.cuh"

namespace ternion::cuda {
namespace {

constexpr int kThreads = 256;

// Mask y, columns of block x. rows [masks], words [masks, MaskWords].
__global__ void __launch_bounds__(kThreads)
    MaskKernel(float* logits, int64_t vocab, const uint32_t* rows, const uint32_t* words) {
  StartNext();
  WaitForPrevious();
  const int64_t v = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (v >= vocab) return;
  const uint32_t word = words[blockIdx.y * MaskWords(vocab) + v / 32];
  if ((word >> (v % 32) & 1) == 0) logits[int64_t{rows[blockIdx.y]} * vocab + v] = -INFINITY;
}

}  // namespace

void CudaBackend::MaskLogits(TensorView<float> logits, absl::Span<const int32_t> rows_host,
                             absl::Span<const uint32_t> words_host) {
  const auto masks = static_cast<int64_t>(rows_host.size());
  CHECK(static_cast<int64_t>(words_host.size()) == masks * MaskWords(logits.cols()), "MaskLogits shapes");
  CHECK(std::all_of(rows_host.begin(), rows_host.end(),
                    [&](int32_t row) { return row >= 0 && row < logits.rows(); }),
        "a mask of one of the rows");
  if (masks == 0 || logits.cols() == 0) return;
  const dim3 grid(static_cast<unsigned>(CeilDivide(logits.cols(), kThreads)), static_cast<unsigned>(masks));
  std::vector<uint32_t> both(rows_host.begin(), rows_host.end());
  both.insert(both.end(), words_host.begin(), words_host.end());
  const uint32_t* const rows = staging_.Upload(absl::MakeConstSpan(both));
  Launch(stream_, MaskKernel, {grid, dim3(kThreads)}, logits.data(), logits.cols(), rows, rows + masks);
}

}  // namespace ternion::cuda
