// Attention of few tokens over a packed cache: a kernel for each format and width of heads.
#include "kernels/cuda/attention_packed.cuh"

#include "kernels/cuda/attention_launch.cuh"

namespace ternion::cuda {
namespace {

template <KvFormat kFormat>
void LaunchSplits(const Stream& stream, const AttentionPlan& plan, const AttentionArguments& arguments) {
  WithHeadDim(arguments.heads.head_dim, [&]<int kDim>() {
    const int bytes = ChunkMemory<kDim, 1>::Bytes(0) +
                      PackedBlocks<kDim, kFormat>::Bytes(static_cast<int>(plan.split_blocks), arguments.heads.head_dim);
    LaunchTiles(stream, PackedTiles<kDim, kFormat>, SplitGrid(plan, arguments.heads), kGroupThreads, bytes, arguments);
  });
}

}  // namespace

void LaunchPackedSplits(const Stream& stream, const AttentionPlan& plan, const AttentionArguments& arguments) {
  switch (arguments.format) {
    case KvFormat::kInt8:
      return LaunchSplits<KvFormat::kInt8>(stream, plan, arguments);
    case KvFormat::kInt4:
      return LaunchSplits<KvFormat::kInt4>(stream, plan, arguments);
    case KvFormat::kInt3:
      return LaunchSplits<KvFormat::kInt3>(stream, plan, arguments);
    case KvFormat::kInt4G32:
      return LaunchSplits<KvFormat::kInt4G32>(stream, plan, arguments);
    case KvFormat::kInt3G32:
      return LaunchSplits<KvFormat::kInt3G32>(stream, plan, arguments);
    case KvFormat::kF32:
    case KvFormat::kF16:
      break;
  }
}

}  // namespace ternion::cuda
