#include "kernels/cuda/uniform_linear.cuh"

#include <algorithm>

namespace ternion::cuda {
namespace {

// UniformArguments::group_share.
uint32_t GroupShare(int64_t group_segments, int64_t segments) {
  if (group_segments == 1) return 0;
  if (group_segments >= segments) return 1;  // one group: quotients are 0
  // n / group_segments is then exact for every n < segments.
  CHECK(segments * group_segments < int64_t{1} << 32,
        "a group and the inputs are of lengths that layers have");
  return static_cast<uint32_t>(((int64_t{1} << 32) + group_segments - 1) / group_segments);
}

}  // namespace

void CudaBackend::UniformLinear(const PackedUniform& w, TensorView<const float> x,
                                TensorView<const float> bias, bool add, TensorView<float> y) {
  CHECK(x.cols() == w.inputs, "x is [tokens, inputs]");
  CHECK(y.rows() == x.rows() && y.cols() == w.outputs, "y is [tokens, outputs]");
  CHECK(bias.empty() || bias.size() == w.outputs, "a bias for every output, or none");
  CHECK(reinterpret_cast<uintptr_t>(x.data()) % 16 == 0, "UniformLinear: rows aligned to 16 bytes");
  if (y.empty()) return;
  const UniformLayout layout = LayoutOf(w.format, w.inputs);
  UniformArguments arguments = {};
  arguments.tiles = static_cast<const uint8_t*>(w.data.data());
  arguments.tile_bytes = layout.TileBytes();
  arguments.groups_bytes = layout.GroupsBytes();
  arguments.outputs = w.outputs;
  arguments.tile_count = static_cast<int>(UniformTiles(w.outputs));
  arguments.units = static_cast<int>(layout.units);
  arguments.segments = static_cast<int>(w.inputs / layout.segment);
  arguments.group_share = GroupShare(std::min(w.format.group, w.inputs) / layout.segment, arguments.segments);
  arguments.x = x.data();
  arguments.tokens = x.rows();
  arguments.bias = bias.empty() ? nullptr : bias.data();
  arguments.add = add;
  arguments.y = y.data();
  if (RunUniformFew(*this, w.format, layout.segment, arguments)) return;
  RunUniformMany(*this, w.format, layout.segment, arguments);
}

}  // namespace ternion::cuda
