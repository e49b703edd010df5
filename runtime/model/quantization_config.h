#pragma once

#include "absl/status/status.h"

namespace ternion {

class JsonFields;
struct ModelConfig;

// Reads what a config.json says of its weights: quantization_config of quant_method "bitnet" or "gptq", or a class that
// quantizes its weights when it loads them; no word of it means plain weights. config.architecture is set.
// kInvalidArgument, kUnimplemented.
absl::Status ReadWeightQuantization(const JsonFields& fields, ModelConfig& config);

}  // namespace ternion
