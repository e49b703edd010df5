#pragma once

#include "absl/status/status.h"

namespace ternion::cpu {

// kInvalidArgument where DetectIsa (kernels/cpu/isa.h) would fail its CHECK: TERNION_ISA names no instruction set, or one
// that this machine does not have.
absl::Status CheckIsa();

}  // namespace ternion::cpu
