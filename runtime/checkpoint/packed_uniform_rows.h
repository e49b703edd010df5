#pragma once

#include <cstdint>

#include "kernels/float_linear.h"
#include "kernels/range.h"

namespace ternion {

// Reads rows of a uniformly quantized matrix that the CPU backend has packed (kernels/cpu/uniform_layout.h) back, so that another
// backend can pack it. `tiles`: the matrix's data.
void ReadPackedUniform(const UniformFormat& format, int64_t inputs, const uint8_t* tiles, Range outputs,
                       const UniformRows& rows);

}  // namespace ternion
