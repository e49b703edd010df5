#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/checkpoint/gguf.h"
#include "runtime/checkpoint/gguf_bytes.h"

namespace ternion {

// The list of `count` tensors and, behind it, their data: the rest of a GGUF file. By name. kDataLoss names the tensor.
absl::StatusOr<std::vector<GgufTensor>> ReadGgufTensors(GgufBytes& bytes, uint64_t count, uint64_t alignment);

}  // namespace ternion
