#pragma once

#include "kernels/cuda/kv_slices.h"
#include "kernels/cuda/launch.h"

namespace ternion::cuda {

struct WriteKvArguments {
  const float* qkv;
  int64_t stride;  // of qkv's rows
  int query_heads;
  int kv_heads;
  int dim;
  void* cache;
  DeviceSlices slices;
};

// WriteKv of a packed format; `arguments` have rows and heads.
void WritePackedKv(const Stream& stream, KvFormat format, const WriteKvArguments& arguments);

}  // namespace ternion::cuda
