// A row on the wire as int8: for each group of up to 128 channels two bytes of scale (bf16, little-endian),
// then a byte a channel.
#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/float_kernels.h"
#include "kernels/cpu/row_tasks.h"

namespace ternion {

int64_t WireRowBytesInt8(int64_t channels) {
  return channels + 2 * ((channels + cpu::kInt8Group - 1) / cpu::kInt8Group);
}

namespace cpu {

void CpuBackend::EncodeInt8(TensorView<const float> x, TensorView<uint8_t> wire) {
  CHECK(wire.rows() == x.rows() && wire.cols() == WireRowBytesInt8(x.cols()), "EncodeInt8 shapes");
  const WireKernels& kernels = *KernelsFor(isa_).wire;
  ForRowRanges(pool_, x.rows(), x.cols(), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) kernels.encode_int8(x.row(t), x.cols(), wire.row(t));
  });
}

void CpuBackend::DecodeInt8(TensorView<const uint8_t> wire, bool add, TensorView<float> x) {
  CHECK(wire.rows() == x.rows() && wire.cols() == WireRowBytesInt8(x.cols()), "DecodeInt8 shapes");
  const WireKernels& kernels = *KernelsFor(isa_).wire;
  ForRowRanges(pool_, x.rows(), x.cols(), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) kernels.decode_int8(wire.row(t), add, x.cols(), x.row(t));
  });
}

}  // namespace cpu
}  // namespace ternion
