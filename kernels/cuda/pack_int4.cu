// INT4 codes between a byte each and two a byte: bound by memory. Packed rows follow each other as the codes'
// rows do, so the matrix is one long row.
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/rows.cuh"

namespace ternion::cuda {
namespace {

using Eight = Pack<int8_t, 8>;

// A thread's four packed bytes and their eight codes.
template <bool kAligned>
__global__ void PackKernel(const int8_t* codes, int64_t bytes, uint8_t* packed) {
  StartNext();
  WaitForPrevious();
  const int64_t begin = ElementOfAll(), left = bytes - begin;
  if (left <= 0) return;
  Eight in = {};
  if constexpr (kAligned) {
    in = *reinterpret_cast<const Eight*>(codes + 2 * begin);
  } else {
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      if (i < 2 * left) in.v[i] = codes[2 * begin + i];
    }
  }
  Four<uint8_t> out;
#pragma unroll
  for (int i = 0; i < 4; ++i) out.v[i] = static_cast<uint8_t>((in.v[2 * i] & 15) | (in.v[2 * i + 1] << 4));
  StoreFour<kAligned>(out, packed + begin, left);
}

template <bool kAligned>
__global__ void UnpackKernel(const uint8_t* packed, int64_t bytes, int8_t* codes) {
  StartNext();
  WaitForPrevious();
  const int64_t begin = ElementOfAll(), left = bytes - begin;
  if (left <= 0) return;
  const Four<uint8_t> in = LoadFour<kAligned>(packed + begin, left);
  Eight out;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    out.v[2 * i] = static_cast<int8_t>(((in.v[i] & 15) ^ 8) - 8);
    out.v[2 * i + 1] = static_cast<int8_t>(static_cast<int8_t>(in.v[i]) >> 4);
  }
  if constexpr (kAligned) {
    *reinterpret_cast<Eight*>(codes + 2 * begin) = out;
  } else {
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      if (i < 2 * left) codes[2 * begin + i] = out.v[i];
    }
  }
}

bool Aligned(int64_t bytes, const int8_t* codes, const uint8_t* packed) {
  return FoursAligned(bytes, packed) && reinterpret_cast<uintptr_t>(codes) % sizeof(Eight) == 0;
}

}  // namespace

void CudaBackend::PackInt4(TensorView<const int8_t> codes, TensorView<uint8_t> packed) {
  CHECK(codes.rows() == packed.rows() && codes.cols() == 2 * packed.cols(), "PackInt4 shapes");
  if (packed.empty()) return;
  const bool aligned = Aligned(packed.size(), codes.data(), packed.data());
  Launch(stream_, aligned ? PackKernel<true> : PackKernel<false>, AsOneRow(packed.size()), codes.data(),
         packed.size(), packed.data());
}

void CudaBackend::UnpackInt4(TensorView<const uint8_t> packed, TensorView<int8_t> codes) {
  CHECK(codes.rows() == packed.rows() && codes.cols() == 2 * packed.cols(), "UnpackInt4 shapes");
  if (packed.empty()) return;
  const bool aligned = Aligned(packed.size(), codes.data(), packed.data());
  Launch(stream_, aligned ? UnpackKernel<true> : UnpackKernel<false>, AsOneRow(packed.size()), packed.data(),
         packed.size(), codes.data());
}

}  // namespace ternion::cuda
