#pragma once

#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/ternary_layout.h"

namespace ternion::cuda {

// A matmul with the epilogue kSums, kStore or kAdd; or both matmuls of a gated unit, with kGateRelu2 or kGateSilu: then
// `matmul` is the gate's. y of a gated unit holds nothing before.
struct RowsWork {
  MatmulWork matmul;
  const uint8_t* up_weights = nullptr;  // of the gate's shape; null: no gated unit
  const float* up_scale = nullptr;      // [outputs]

  int matrices() const { return up_weights == nullptr ? 1 : 2; }
};

// The road of up to kDecodeTokens tokens, unless their codes leave too little shared memory.
inline constexpr int64_t kDecodeTokens = 4;
bool TernaryDecodeFits(const CudaBackend& backend, const MatmulWork& work);
void TernaryDecode(CudaBackend& backend, const RowsWork& work, Epilogue epilogue);
// The same where a block's share of the weights is small.
bool TernaryShortFits(const CudaBackend& backend, const RowsWork& work);
void TernaryShort(CudaBackend& backend, const RowsWork& work, Epilogue epilogue);

// Up to 16 tokens, up to 64 of small matrices.
bool TernaryFewFits(const CudaBackend& backend, const RowsWork& work);
void TernaryFew(CudaBackend& backend, const RowsWork& work, Epilogue epilogue);

// Any number of tokens, kBatchTokens at a time.
inline constexpr int64_t kBatchTokens = 64;
void TernaryBatch(CudaBackend& backend, const RowsWork& work, Epilogue epilogue);

// The fastest road.
void RunTernary(CudaBackend& backend, const RowsWork& work, Epilogue epilogue);

}  // namespace ternion::cuda
