// Packing of uniform weights. The host reads up to 64 outputs at a time; the staging ring copies them on while the next are
// read. A thread makes a lane's share of a step. Bound by the reader.
#include <cuda_fp16.h>

#include <algorithm>
#include <vector>

#include "kernels/check_uniform.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/uniform_layout.h"
#include "kernels/status.h"

namespace ternion::cuda {
namespace {

constexpr int kThreads = 256;

struct PackArguments {
  const uint8_t* codes;  // [16 * tiles, inputs]
  const float* scales;   // [16 * tiles, groups]
  const uint8_t* zeros;  // the same
  int64_t tiles;
  int64_t inputs;
  UniformLayout layout;
  uint8_t* to;  // the first tile
};

// A lane's words of a step of a unit.
__global__ void __launch_bounds__(kThreads) PackCodes(PackArguments arguments) {
  StartNext();
  WaitForPrevious();
  const UniformLayout& layout = arguments.layout;
  const int64_t steps = layout.segment / kStepInputs;
  const int64_t index = int64_t{blockIdx.x} * kThreads + threadIdx.x, step_of_all = index / kWarp;
  if (step_of_all >= arguments.tiles * layout.units * steps) return;
  const int64_t step = step_of_all % steps, unit_of_all = step_of_all / steps;
  const int64_t tile = unit_of_all / layout.units, unit = unit_of_all % layout.units;
  const int lane = static_cast<int>(index % kWarp);
  uint32_t words[8] = {}, third[2] = {};
#pragma unroll
  for (int j = 0; j < 4; ++j) {
    const int64_t row = tile * kUniformTile + lane / 4 + 8 * (j % 2);
#pragma unroll
    for (int f = 0; f < static_cast<int>(kUnitSegments); ++f) {
      const int64_t input =
          unit * layout.UnitInputs() + f * layout.segment + step * kStepInputs + lane % 4 * 8 + j / 2 * 4;
      if (input >= arguments.inputs) continue;
      const uint32_t four =
          *reinterpret_cast<const uint32_t*>(arguments.codes + row * arguments.inputs + input);
      if (layout.bits == 4) {
        words[f / 2 * 4 + j] |= four << f % 2 * 4;
      } else {
        words[j] |= (four & 0x03030303u) << 2 * f;
        third[j / 2] |= (four >> 2 & 0x01010101u) << (j % 2 * 4 + f);
      }
    }
  }
  uint8_t* const to =
      arguments.to + tile * layout.TileBytes() + layout.GroupsBytes() + unit * layout.UnitBytes();
  uint4* const shares = reinterpret_cast<uint4*>(to);
  shares[step * kWarp + lane] = {words[0], words[1], words[2], words[3]};
  if (layout.bits == 4) shares[kWarp + lane] = {words[4], words[5], words[6], words[7]};
  if (layout.bits == 3) {
    reinterpret_cast<uint2*>(shares + steps * kWarp)[lane * steps + step] = {third[0], third[1]};
  }
}

__global__ void __launch_bounds__(kThreads) PackGroups(PackArguments arguments) {
  StartNext();
  WaitForPrevious();
  const UniformLayout& layout = arguments.layout;
  const int64_t index = int64_t{blockIdx.x} * kThreads + threadIdx.x, group_of_all = index / kUniformTile;
  if (group_of_all >= arguments.tiles * layout.groups) return;
  const int64_t tile = group_of_all / layout.groups, group = group_of_all % layout.groups;
  const int output = static_cast<int>(index % kUniformTile), place = output % 8 * 2 + output / 8;
  const int64_t from = (tile * kUniformTile + output) * layout.groups + group;
  const float scale = arguments.scales[from];
  const uint32_t zero = arguments.zeros[from];
  uint32_t* const to = reinterpret_cast<uint32_t*>(arguments.to + tile * layout.TileBytes()) +
                       (group * kUniformTile + place) * layout.group_words;
  if (layout.group_words == 1) {
    *to = __half_as_ushort(__float2half_rn(scale)) | zero << 16;
  } else {
    to[0] = __float_as_uint(scale);
    to[1] = zero;
  }
}

// Up to kUniformRows outputs on the host, whose last tile is filled up with zeros.
struct HostRows {
  explicit HostRows(int64_t inputs, int64_t groups)
      : codes(kUniformRows * inputs), scales(kUniformRows * groups), zeros(kUniformRows * groups) {}

  // [outputs, ...]; those after them are zeros.
  UniformRows Clear(int64_t outputs, int64_t inputs, int64_t groups) {
    std::fill(codes.begin(), codes.end(), 0);
    std::fill(scales.begin(), scales.end(), 0.0f);
    std::fill(zeros.begin(), zeros.end(), 0);
    return {
        {codes.data(), outputs, inputs}, {scales.data(), outputs, groups}, {zeros.data(), outputs, groups}};
  }

  std::vector<uint8_t> codes;
  std::vector<float> scales;
  std::vector<uint8_t> zeros;
};

unsigned Blocks(int64_t threads) { return static_cast<unsigned>(CeilDivide(threads, kThreads)); }

}  // namespace

absl::StatusOr<PackedUniform> CudaBackend::PackUniform(const UniformFormat& format, int64_t outputs,
                                                       int64_t inputs, UniformReader reader) {
  CheckUniformShape(format, outputs, inputs);
  const UniformLayout layout = LayoutOf(format, inputs);
  PackedUniform packed{format, outputs, inputs, {}};
  TERNION_ASSIGN_OR_RETURN(packed.data,
                           Allocate(static_cast<size_t>(UniformTiles(outputs) * layout.TileBytes())));
  HostRows host(inputs, layout.groups);
  for (int64_t begin = 0; begin < outputs; begin += kUniformRows) {
    const int64_t n = std::min(kUniformRows, outputs - begin);
    const UniformRows rows = host.Clear(n, inputs, layout.groups);
    reader({begin, begin + n}, rows);
    TERNION_RETURN_IF_ERROR(CheckUniformRows(format, begin, rows));
    PackArguments arguments = {};
    arguments.codes = staging_.Upload(absl::Span<const uint8_t>(host.codes));
    arguments.scales = staging_.Upload(absl::Span<const float>(host.scales));
    arguments.zeros = staging_.Upload(absl::Span<const uint8_t>(host.zeros));
    arguments.tiles = UniformTiles(n);
    arguments.inputs = inputs;
    arguments.layout = layout;
    arguments.to = static_cast<uint8_t*>(packed.data.data()) + begin / kUniformTile * layout.TileBytes();
    Launch(
        stream_, PackCodes,
        {dim3(Blocks(arguments.tiles * layout.units * layout.segment / kStepInputs * kWarp)), dim3(kThreads)},
        arguments);
    Launch(stream_, PackGroups,
           {dim3(Blocks(arguments.tiles * layout.groups * kUniformTile)), dim3(kThreads)}, arguments);
  }
  // Kernels fetch weights before they wait for the kernels before them.
  CUDA_CHECK(cudaStreamSynchronize(stream_.handle));
  return packed;
}

}  // namespace ternion::cuda
