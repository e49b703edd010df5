#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "launcher/options.h"

namespace ternion {

// A tensor of a model's files.
struct TensorEntry {
  std::string file;
  std::string name;
  std::string form;  // "U8 [640, 2560]"
  int64_t bytes = 0;
};

// All tensors of a Hugging Face folder, a .gguf file or a converted folder; none of a synthetic model.
absl::StatusOr<std::vector<TensorEntry>> ListTensors(const JobOptions& options);

}  // namespace ternion
