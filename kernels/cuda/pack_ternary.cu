// Packing into bit planes, and by input where a matrix has that form too. The host reads a chunk of outputs at a time; the
// staging ring copies it on while the next is read. A thread makes one word of both planes from 32 codes, or one word of
// an input from 16. Bound by the reader.
#include <algorithm>
#include <cstring>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/device.cuh"
#include "kernels/cuda/ternary_layout.h"
#include "kernels/cuda/ternary_sparse.h"
#include "kernels/status.h"

namespace ternion::cuda {
namespace {

// Beyond this many inputs the sum of code * activation leaves 32 bits.
constexpr int64_t kMaxInputs = int64_t{1} << 23;
// A quarter of the staging ring: while one chunk is read the one before is copied.
constexpr int64_t kChunkBytes = int64_t{1} << 20;
constexpr int kThreads = 256;
constexpr int kUnitWords = kPlaneBytes / 4;  // of one plane
constexpr uint8_t kZeroTrit = 1;

// The words of both planes from codes [16 * tiles, units * 256].
__global__ void __launch_bounds__(kThreads)
    PackKernel(const uint8_t* codes, int64_t tiles, int64_t units, uint32_t* data) {
  StartNext();
  WaitForPrevious();
  const int64_t index = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const int64_t unit_of_all = index / kUnitWords;  // tile * units + unit
  if (unit_of_all >= tiles * units) return;
  const int word = static_cast<int>(index % kUnitWords), e = word % 4, q = word / 4 % 4, g = word / 16;
  const int64_t output = unit_of_all / units * kTileOutputs + g + 8 * (e & 1);
  const int64_t input = unit_of_all % units * kUnitInputs + 128 * (e >> 1) + 32 * q;
  const uint4* const from = reinterpret_cast<const uint4*>(codes + output * units * kUnitInputs + input);
  const uint4 low = from[0], high = from[1];
  const uint32_t fours[8] = {low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w};
  uint32_t plane0 = 0, plane1 = 0;
#pragma unroll
  for (int j = 0; j < 8; ++j) {
    plane0 |= (fours[j] & 0x01010101u) << j;
    plane1 |= (fours[j] >> 1 & 0x01010101u) << j;
  }
  data[unit_of_all * 2 * kUnitWords + word] = plane0;
  data[unit_of_all * 2 * kUnitWords + kUnitWords + word] = plane1;
}

// Words of the form by input (kernels/cuda/ternary_sparse.h) from the same codes, which are those of tiles from
// `first_tile` on.
__global__ void __launch_bounds__(kThreads)
    PackByInputKernel(const uint8_t* codes, int64_t stride, int64_t inputs, int64_t first_tile, int columns,
                      uint32_t* data) {
  StartNext();
  WaitForPrevious();
  const int64_t input = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (input >= inputs) return;
  const uint8_t* const from = codes + int64_t{blockIdx.y} * kTileOutputs * stride + input;
  uint32_t word = 0;
#pragma unroll
  for (int i = 0; i < kTileOutputs; ++i) word |= static_cast<uint32_t>(from[i * stride]) << 2 * i;
  const int64_t tile = first_tile + blockIdx.y, group = tile / (8 * columns);
  const int in_group = static_cast<int>(tile % (8 * columns)), j = in_group / 8, g = in_group % 8;
  data[(group * inputs + input) * (8 * columns) + columns * g + j] = word;
}

absl::Status CheckCodes(int64_t output, absl::Span<const uint8_t> codes) {
  uint8_t largest = 0;
  for (uint8_t code : codes) largest = std::max(largest, code);
  if (largest <= 2) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("the ternary weights of output ", output, " hold the code ",
                                                 static_cast<int>(largest),
                                                 "; codes are 0, 1 and 2 (trit + 1)"));
}

// Reads outputs [begin, end) into codes [end - begin rounded up to tiles, stride], whose rest becomes trits of zero.
absl::Status ReadCodes(TritReader reader, int64_t begin, int64_t end, int64_t inputs, int64_t stride,
                       std::vector<uint8_t>& codes) {
  codes.assign(static_cast<size_t>(CeilDivide(end - begin, kTileOutputs) * kTileOutputs * stride), kZeroTrit);
  for (int64_t o = begin; o < end; ++o) {
    const absl::Span<uint8_t> row(codes.data() + (o - begin) * stride, static_cast<size_t>(inputs));
    reader(o, row);
    TERNION_RETURN_IF_ERROR(CheckCodes(o, row));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<PackedTernary> CudaBackend::PackTernary(TernaryLayout layout, int64_t outputs, int64_t inputs,
                                                       TritReader reader) {
  CHECK(outputs > 0 && inputs > 0 && inputs <= kMaxInputs,
        "a ternary matrix has 1 to 2^23 inputs and an output");
  PackedTernary packed{layout, outputs, inputs, {}};
  const ByInputCopy copy = ByInputCopyOn(*this, layout, outputs, inputs);
  const int64_t bytes = PackedBytes(outputs, inputs) + copy.bytes;
  TERNION_ASSIGN_OR_RETURN(packed.data, Allocate(static_cast<size_t>(bytes)));
  uint32_t* const by_input =
      reinterpret_cast<uint32_t*>(static_cast<uint8_t*>(packed.data.data()) + PackedBytes(outputs, inputs));
  const int64_t units = Units(inputs), stride = units * kUnitInputs;
  const int64_t chunk_tiles = std::max<int64_t>(1, kChunkBytes / (kTileOutputs * stride));
  std::vector<uint8_t> codes;
  for (int64_t tile = 0; tile < Tiles(outputs); tile += chunk_tiles) {
    const int64_t tiles = std::min(chunk_tiles, Tiles(outputs) - tile);
    TERNION_RETURN_IF_ERROR(ReadCodes(reader, tile * kTileOutputs,
                                      std::min((tile + tiles) * kTileOutputs, outputs), inputs, stride,
                                      codes));
    const uint8_t* const staged = staging_.Upload(absl::Span<const uint8_t>(codes));
    const int64_t blocks = CeilDivide(tiles * units * kUnitWords, kThreads);
    Launch(stream_, PackKernel, {dim3(static_cast<unsigned>(blocks)), dim3(kThreads)}, staged, tiles, units,
           static_cast<uint32_t*>(packed.data.data()) + tile * units * 2 * kUnitWords);
    if (copy.columns == 0) continue;
    Launch(stream_, PackByInputKernel,
           {dim3(static_cast<unsigned>(CeilDivide(inputs, kThreads)), static_cast<unsigned>(tiles)),
            dim3(kThreads)},
           staged, stride, inputs, tile, copy.columns, by_input);
  }
  // Kernels fetch weights before they wait for the kernels before them.
  CUDA_CHECK(cudaStreamSynchronize(stream_.handle));
  return packed;
}

}  // namespace ternion::cuda
