#pragma once

#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/ternary_layout.h"
#include "kernels/cuda/ternary_rows.h"

namespace ternion::cuda {

// Whether TernaryPrefill runs on this device: Hopper, in a build for sm_90a.
bool TernaryPrefillSupported(const cudaDeviceProp& properties);

// A matmul of many tokens, or both of a gated unit, by wgmma, for TernaryMatmul and the operations made of it: right for
// any shape of at least one token, fast from about 64 tokens on. Takes Purpose::kCodes.
void TernaryPrefill(CudaBackend& backend, const RowsWork& rows, Epilogue epilogue);

}  // namespace ternion::cuda
