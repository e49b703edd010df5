#pragma once

#include "kernels/cpu/float_kernels.h"
#include "kernels/cpu/packed_head.h"

namespace ternion::cpu {

// Quantizes the K or V of the token at `position`, x [head_dim], as KvFormat tells, and writes codes and scales to the
// token's slot. NaN counts as 0.
void PackKv(const FloatKernels& kernels, KvFormat format, const float* x, int64_t position,
            const PackedHead& head, PackedHead::Part part);

}  // namespace ternion::cpu
