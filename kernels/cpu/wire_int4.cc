// A row on the wire as int4: for each group of n <= 32 channels two bytes of minimum and two of step (bf16,
// little-endian), then b = ceil(n / 2) bytes: byte i holds channel i low and channel i + b high, or 0 where
// the group has no such channel.
#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/float_kernels.h"
#include "kernels/cpu/row_tasks.h"

namespace ternion {

int64_t WireRowBytesInt4(int64_t channels) {
  return (channels + 1) / 2 + 4 * ((channels + cpu::kInt4Group - 1) / cpu::kInt4Group);
}

namespace cpu {

void CpuBackend::EncodeInt4(TensorView<const float> x, TensorView<uint8_t> wire) {
  CHECK(wire.rows() == x.rows() && wire.cols() == WireRowBytesInt4(x.cols()), "EncodeInt4 shapes");
  const WireKernels& kernels = *KernelsFor(isa_).wire;
  ForRowRanges(pool_, x.rows(), x.cols(), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) kernels.encode_int4(x.row(t), x.cols(), wire.row(t));
  });
}

void CpuBackend::DecodeInt4(TensorView<const uint8_t> wire, bool add, TensorView<float> x) {
  CHECK(wire.rows() == x.rows() && wire.cols() == WireRowBytesInt4(x.cols()), "DecodeInt4 shapes");
  const WireKernels& kernels = *KernelsFor(isa_).wire;
  ForRowRanges(pool_, x.rows(), x.cols(), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) kernels.decode_int4(wire.row(t), add, x.cols(), x.row(t));
  });
}

}  // namespace cpu
}  // namespace ternion
