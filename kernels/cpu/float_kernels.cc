#include "kernels/cpu/float_kernels.h"

#include "kernels/cpu/isa.h"

namespace ternion::cpu {
namespace {

constexpr FloatKernels kPortable = {
    &portable::kRowKernels,       &portable::kQuantizeKernels,        &portable::kHalfKernels,
    &portable::kAttentionKernels, &portable::kPackedAttentionKernels, &portable::kHeadKernels,
    &portable::kWireKernels};
constexpr FloatKernels kAvx2 = {&avx2::kRowKernels,       &avx2::kQuantizeKernels,        &avx2::kHalfKernels,
                                &avx2::kAttentionKernels, &avx2::kPackedAttentionKernels, &avx2::kHeadKernels,
                                &avx2::kWireKernels};
constexpr FloatKernels kAvx512 = {
    &avx512::kRowKernels,       &avx512::kQuantizeKernels,        &avx512::kHalfKernels,
    &avx512::kAttentionKernels, &avx512::kPackedAttentionKernels, &avx512::kHeadKernels,
    &avx512::kWireKernels};

}  // namespace

const FloatKernels& KernelsFor(Isa isa) {
  switch (isa) {
    case Isa::kAvx512:
      return kAvx512;
    case Isa::kAvx2:
      return kAvx2;
    case Isa::kPortable:
      break;
  }
  return kPortable;
}

}  // namespace ternion::cpu
