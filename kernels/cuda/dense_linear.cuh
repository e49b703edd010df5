#pragma once

#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/device.cuh"

namespace ternion::cuda {

// y = x . W^T of plain weights.
struct DenseArguments {
  const uint16_t* weights;  // [outputs, inputs]
  const float* x;           // [tokens, inputs]
  const float* bias;        // [outputs], or null
  float* y;                 // [tokens, outputs]
  int64_t outputs;
  int64_t tokens;
  int inputs;
  int batches;  // of inputs (kernels/cuda/dense_batch.cuh)
  bool add;
};

// Beyond so many tokens they are a matter of arithmetic, where blocks of so many outputs and tokens keep a GPU busy.
inline constexpr int64_t kFewDenseTokens = 32;
inline constexpr int64_t kManyDenseSide = 64;

// The matmul of few tokens (dense_few.cu) and of many (dense_many.cu), both of any number: the same bits.
void RunDenseFew(CudaBackend& backend, DenseType type, const DenseArguments& arguments);
void RunDenseMany(CudaBackend& backend, DenseType type, const DenseArguments& arguments);

// `sum` is y without what a layer says is added.
__device__ __forceinline__ void StoreDense(const DenseArguments& arguments, int64_t token, int64_t output,
                                           float sum) {
  if (token >= arguments.tokens || output >= arguments.outputs) return;
  float* const y = arguments.y + token * arguments.outputs + output;
  if (arguments.bias != nullptr) sum += arguments.bias[output];
  *y = arguments.add ? *y + sum : sum;
}

}  // namespace ternion::cuda
