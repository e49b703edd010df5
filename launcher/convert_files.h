#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "launcher/options.h"
#include "runtime/model/weights.h"

namespace ternion {

// What a converted folder keeps beside the weights, by name and content: a config.json that says what `source` is, the
// tokenizer, the chat template, defaults for generation.
absl::StatusOr<std::vector<std::pair<std::string, std::string>>> FilesToKeep(const JobOptions& options,
                                                                             const WeightSource& source);

}  // namespace ternion
