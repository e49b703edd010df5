#pragma once

#include "absl/status/statusor.h"
#include "runtime/checkpoint/gguf.h"
#include "runtime/checkpoint/gguf_architecture.h"
#include "runtime/model/config.h"

namespace ternion {

struct GgufConfig {
  const GgufArchitecture* architecture;
  ModelConfig config;  // its text: the config.json that the metadata amount to
};

// The configuration that a GGUF file's metadata give. kInvalidArgument and kUnimplemented name the file and the key:
// a key of the architecture that is not known here could change the arithmetic, so it is refused. Also checks the
// tensors' names (CheckGgufTensors).
absl::StatusOr<GgufConfig> ReadGgufConfig(const Gguf& gguf);

}  // namespace ternion
