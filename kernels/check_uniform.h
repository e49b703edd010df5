#pragma once

#include "absl/status/status.h"
#include "kernels/float_linear.h"

namespace ternion {

// A CHECK of what PackUniform is called with.
void CheckUniformShape(const UniformFormat& format, int64_t outputs, int64_t inputs);

// kInvalidArgument names the first output, counted from `first`, that holds a code, zero or scale which the format cannot.
absl::Status CheckUniformRows(const UniformFormat& format, int64_t first, const UniformRows& rows);

}  // namespace ternion
