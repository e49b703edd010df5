#pragma once

#include <cuda_runtime.h>

#include <cstddef>

#include "kernels/cuda/cuda_check.h"

namespace ternion::cuda {

// Where kernels go. `overlaps`: the device starts a kernel's blocks while the one before still runs (programmatic
// dependent launch), so every kernel must call WaitForPrevious (kernels/cuda/device.cuh) before it touches memory
// that another kernel writes or reads; what no kernel writes (weights) it may fetch before.
struct Stream {
  cudaStream_t handle = nullptr;
  bool overlaps = false;
};

struct LaunchShape {
  dim3 grid;
  dim3 block;
  size_t shared_bytes = 0;  // dynamic; above 48 KiB the kernel must have been allowed to (AllowSharedMemory)
  int cluster = 1;          // blocks of a cluster along x
};

template <typename... Parameters, typename... Arguments>
void Launch(const Stream& stream, void (*kernel)(Parameters...), const LaunchShape& shape,
            const Arguments&... arguments) {
  cudaLaunchConfig_t config = {};
  config.gridDim = shape.grid;
  config.blockDim = shape.block;
  config.dynamicSmemBytes = shape.shared_bytes;
  config.stream = stream.handle;
  cudaLaunchAttribute attributes[2];
  config.attrs = attributes;
  if (stream.overlaps) {
    cudaLaunchAttribute& attribute = attributes[config.numAttrs++];
    attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attribute.val.programmaticStreamSerializationAllowed = 1;
  }
  if (shape.cluster > 1) {
    cudaLaunchAttribute& attribute = attributes[config.numAttrs++];
    attribute.id = cudaLaunchAttributeClusterDimension;
    attribute.val.clusterDim.x = static_cast<unsigned>(shape.cluster);
    attribute.val.clusterDim.y = 1;
    attribute.val.clusterDim.z = 1;
  }
  CUDA_CHECK(cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...));
}

// Lets a kernel take up to `bytes` of dynamic shared memory. Cheap; call it before each launch that needs more than
// 48 KiB.
template <typename... Parameters>
void AllowSharedMemory(void (*kernel)(Parameters...), size_t bytes) {
  CUDA_CHECK(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                                  cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes)));
}

}  // namespace ternion::cuda
