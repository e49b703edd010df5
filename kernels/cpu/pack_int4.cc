// INT4 codes between a byte each and two a byte.
#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/float_kernels.h"
#include "kernels/cpu/row_tasks.h"

namespace ternion::cpu {

void CpuBackend::PackInt4(TensorView<const int8_t> codes, TensorView<uint8_t> packed) {
  CHECK(codes.rows() == packed.rows() && codes.cols() == 2 * packed.cols(), "PackInt4 shapes");
  const QuantizeKernels& kernels = *KernelsFor(isa_).quantize;
  ForRowRanges(pool_, codes.rows(), codes.cols(), [&](int64_t begin, int64_t end) {
    kernels.pack_int4(codes.row(begin), (end - begin) * packed.cols(), packed.row(begin));
  });
}

void CpuBackend::UnpackInt4(TensorView<const uint8_t> packed, TensorView<int8_t> codes) {
  CHECK(codes.rows() == packed.rows() && codes.cols() == 2 * packed.cols(), "UnpackInt4 shapes");
  const QuantizeKernels& kernels = *KernelsFor(isa_).quantize;
  ForRowRanges(pool_, codes.rows(), codes.cols(), [&](int64_t begin, int64_t end) {
    kernels.unpack_int4(packed.row(begin), (end - begin) * packed.cols(), codes.row(begin));
  });
}

}  // namespace ternion::cpu
