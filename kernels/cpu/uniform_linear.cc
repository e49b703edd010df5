// Uniform weights: bound by reading them for one token, by multiplying for many. A task takes tiles of 16 outputs, of which
// all tokens make use while a tile is in the first cache.
#include <algorithm>

#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/linear_result.h"
#include "kernels/cpu/scratch.h"
#include "kernels/cpu/uniform_layout.h"

namespace ternion::cpu {
namespace {

constexpr int64_t kTasksPerThread = 3;
// Tiles whose sums a task holds before it stores them.
constexpr int64_t kPassTiles = 8;

const UniformKernels& SelectKernels(Isa isa) {
  switch (isa) {
    case Isa::kAvx512:
      return avx512::kUniformKernels;
    case Isa::kAvx2:
      return avx2::kUniformKernels;
    case Isa::kPortable:
      break;
  }
  return portable::kUniformKernels;
}

// x as integers, for all tasks.
class RoundedInputs {
 public:
  RoundedInputs(TensorView<const float> x, const UniformLayout& layout, const UniformKernels& kernels,
                ThreadPool& pool)
      : codes_(2 * x.rows() * layout.units * layout.UnitInputs()),
        factors_(2 * x.rows() * layout.units * kUnitSegments) {
    int8_t* const high = codes_.data();
    float* const steps = factors_.data();
    inputs_ = {high,          high + x.rows() * layout.units * layout.UnitInputs(),
               steps,         steps + x.rows() * layout.units * kUnitSegments,
               x.rows(),      layout.units,
               layout.segment};
    pool.ForEach(x.rows(), [&](int64_t t) { kernels.round_inputs(x.row(t), x.cols(), inputs_, t); });
  }

  const UniformInputs& inputs() const { return inputs_; }

 private:
  Scratch<int8_t> codes_;
  Scratch<float> factors_;
  UniformInputs inputs_;
};

}  // namespace

void CpuBackend::UniformLinear(const PackedUniform& w, TensorView<const float> x,
                               TensorView<const float> bias, bool add, TensorView<float> y) {
  CheckLinear(w.outputs, w.inputs, x, bias, y);
  const UniformKernels& kernels = SelectKernels(isa_);
  const UniformLayout layout = LayoutOf(w.format, w.inputs);
  RoundedInputs rounded(x, layout, kernels, pool_);
  const int64_t tiles = UniformTiles(w.outputs);
  const int64_t task_tiles = std::max<int64_t>(1, tiles / (kTasksPerThread * pool_.threads()));
  pool_.ForEach((tiles + task_tiles - 1) / task_tiles, [&](int64_t task) {
    const int64_t end = std::min(tiles, (task + 1) * task_tiles);
    Scratch<float> sums(x.rows() * kPassTiles * kUniformTile);
    for (int64_t tile = task * task_tiles; tile < end; tile += kPassTiles) {
      const int64_t n = std::min(kPassTiles, end - tile);
      UniformDots work = {};
      work.tiles = static_cast<const uint8_t*>(w.data.data()) + tile * layout.TileBytes();
      work.tile_bytes = layout.TileBytes();
      work.tile_count = n;
      work.groups_bytes = layout.GroupsBytes();
      work.segments = w.inputs / layout.segment;
      work.group_segments = std::min(w.format.group, w.inputs) / layout.segment;
      work.bits = w.format.bits;
      work.half_scales = w.format.scale == ScaleType::kFloat16;
      work.inputs = rounded.inputs();
      work.out = sums.data();
      kernels.dot_tiles(work);
      const int64_t begin = tile * kUniformTile;
      StoreLinear({sums.data(), x.rows(), n * kUniformTile}, begin, bias, add, y);
    }
  });
}

}  // namespace ternion::cpu
