#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "absl/types/span.h"
#include "runtime/checkpoint/tensor_index.h"
#include "runtime/model/config.h"

namespace ternion {

// XXH64 of a text as sixteen hex digits.
std::string HexDigest(std::string_view text);

// Appends pieces of a tensor's bytes to the text of a digest, evenly spread, the first and the last among them.
void AppendSamples(absl::Span<const std::byte> data, std::string& text);

// WeightSource::Digest of a checkpoint. Where the folder lies does not matter.
std::string CheckpointDigest(const ModelConfig& config, const TensorIndex& index);

}  // namespace ternion
