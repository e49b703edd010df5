#include "kernels/cuda/uniform_linear.cuh"

#include <algorithm>

namespace ternion::cuda {

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
  arguments.units = static_cast<int>(layout.units);
  arguments.segments = static_cast<int>(w.inputs / layout.segment);
  const uint64_t group_segments = static_cast<uint64_t>(std::min(w.format.group, w.inputs) / layout.segment);
  arguments.group_share = ((uint64_t{1} << 40) + group_segments - 1) / group_segments;
  arguments.x = x.data();
  arguments.tokens = x.rows();
  arguments.bias = bias.empty() ? nullptr : bias.data();
  arguments.add = add;
  arguments.y = y.data();
  if (FitsUniformFew(layout.segment, arguments)) {
    return RunUniformFew(*this, w.format, layout.segment, arguments);
  }
  RunUniformMany(*this, w.format, layout.segment, arguments);
}

}  // namespace ternion::cuda
