// Attention of few tokens over a packed cache: a kernel for each format and width of heads.
#include "kernels/cuda/attention_packed.cuh"

#include <algorithm>

#include "kernels/cuda/attention_launch.cuh"

namespace ternion::cuda {
namespace {

template <KvFormat kFormat>
void LaunchSplits(const CudaBackend& backend, const AttentionPlan& plan,
                  const AttentionArguments& arguments) {
  WithHeadDim(arguments.heads.head_dim, [&]<int kDim>() {
    const dim3 tiles = SplitGrid(plan, arguments.heads);
    const size_t bytes = PackedTileBytes<kDim, kFormat>(arguments.key_matrices, arguments.heads.head_dim);
    const cudaDeviceProp& device = backend.properties();
    const int64_t resident =
        std::clamp<int64_t>(device.sharedMemPerMultiprocessor / (bytes + device.reservedSharedMemPerBlock), 1,
                            kPackedTileBlocks<kDim>);
    const int64_t blocks =
        std::min(int64_t{tiles.x} * tiles.y * tiles.z, resident * device.multiProcessorCount);
    AllowSharedMemory(PackedTiles<kDim, kFormat>, bytes);
    Launch(backend.launch_stream(), PackedTiles<kDim, kFormat>,
           {dim3(static_cast<unsigned>(blocks)), dim3(kGroupThreads), bytes}, arguments,
           static_cast<int>(tiles.z));
  });
}

}  // namespace

void LaunchPackedSplits(const CudaBackend& backend, const AttentionPlan& plan, AttentionArguments arguments) {
  arguments.key_matrices = static_cast<int>(plan.split_blocks);
  switch (arguments.format) {
    case KvFormat::kInt8:
      return LaunchSplits<KvFormat::kInt8>(backend, plan, arguments);
    case KvFormat::kInt4:
      return LaunchSplits<KvFormat::kInt4>(backend, plan, arguments);
    case KvFormat::kInt3:
      return LaunchSplits<KvFormat::kInt3>(backend, plan, arguments);
    case KvFormat::kInt4G32:
      return LaunchSplits<KvFormat::kInt4G32>(backend, plan, arguments);
    case KvFormat::kInt3G32:
      return LaunchSplits<KvFormat::kInt3G32>(backend, plan, arguments);
    case KvFormat::kF32:
    case KvFormat::kF16:
      break;
  }
}

}  // namespace ternion::cuda
