#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "launcher/options.h"
#include "runtime/checkpoint/converted_manifest.h"
#include "runtime/model/weights.h"

namespace ternion {

// What `ternion inspect` tells of a model itself.
struct ModelFacts {
  std::string name;
  std::string digest;
  std::string quantization;  // "ternary weights (packed), INT8 inputs"
  std::string linear_kind;   // of linear layers' weights: "ternary", "INT2", "bfloat16"
  int64_t linear_parameters = 0;
  int64_t table_parameters = 0;  // embedding and head
  double linear_bits = 0;  // a weight of a linear layer takes in memory, without scales beside ternary ones
  double all_bits = 0;     // a parameter takes, with norms, scales and tables
  std::optional<ConvertedManifest> converted;
};

ModelFacts FactsOf(const JobOptions& options, const WeightSource& source);
void PrintModel(const ModelFacts& facts, const ModelConfig& config);
nlohmann::ordered_json ModelJson(const ModelFacts& facts, const ModelConfig& config);

}  // namespace ternion
