#pragma once

#include <string>
#include <string_view>

#include "runtime/checkpoint/tensor_index.h"
#include "runtime/model/config.h"

namespace ternion {

// XXH64 of a text as sixteen hex digits.
std::string HexDigest(std::string_view text);

// WeightSource::Digest of a checkpoint. Where the folder lies does not matter.
std::string CheckpointDigest(const ModelConfig& config, const TensorIndex& index);

}  // namespace ternion
