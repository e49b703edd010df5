#pragma once

#include <cstdint>

#include "absl/functional/function_ref.h"
#include "kernels/cuda/cuda_backend.h"

namespace ternion::cuda {

// Seconds that one of `launches` calls enqueue(0), enqueue(1), ... takes on the device: they are recorded into one graph,
// which runs `repetitions` times right behind another run of itself; the median counts. `enqueue` only enqueues to the
// backend's stream.
double MedianSeconds(CudaBackend& backend, int launches, int repetitions,
                     absl::FunctionRef<void(int i)> enqueue);

// More than L2 holds: operands that take turns over so many bytes come from memory.
inline constexpr int64_t kRotatedBytes = int64_t{576} << 20;

// How many operands of `bytes` take turns over so much; a thousand at most.
int64_t RotatedCopies(int64_t bytes);
// Launches of a graph whose operands take turns: whole turns, a millisecond of them where one takes about `seconds`.
int RotatedLaunches(int64_t copies, double seconds);

}  // namespace ternion::cuda
