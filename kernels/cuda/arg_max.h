#pragma once

#include "kernels/cuda/cuda_backend.h"

namespace ternion::cuda {

// Backend::Shortlist with a count of 1 in every row.
void ShortlistLargest(CudaBackend& backend, TensorView<const float> logits, int64_t first,
                      TensorView<Candidate> lists);

}  // namespace ternion::cuda
