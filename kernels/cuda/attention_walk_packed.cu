// Prefill over a packed cache: a kernel for each width of heads.
#include "kernels/cuda/attention_walk_packed.cuh"

#include "kernels/cuda/attention_launch.cuh"

namespace ternion::cuda {

void LaunchPackedWalks(const Stream& stream, const AttentionPlan& plan, const AttentionArguments& arguments) {
  const int dim = arguments.heads.head_dim;
  WithHeadDim(dim, [&]<int kDim>() {
    using Memory = PackedWalkMemory<kDim>;
    LaunchTiles(stream, PackedWalkTiles<kDim>, WalkGrid(plan, arguments.heads, Memory::kRows),
                Memory::kThreads, PackedWalkBytes<kDim>(arguments.format, dim), arguments);
  });
}

}  // namespace ternion::cuda
