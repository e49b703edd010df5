#pragma once

#include <string_view>

#include "absl/status/statusor.h"

namespace ternion {

class JsonFields;

// What tells one family of models from another; the rest of a model's config.json means the same in all of them.
struct Architecture {
  std::string_view model_type;  // config.json's
  std::string_view
      class_name;  // of config.json's architectures, where the model_type does not tell; else empty
  // The norms before o_proj and down_proj, below "model.layers.N."; empty where there are none.
  std::string_view attn_sub_norm;
  std::string_view ffn_sub_norm;
  bool qkv_bias;    // q_proj, k_proj and v_proj have biases
  bool ternary;     // there are ternary models of it
  bool floats;      // there are models of it with float activations
  bool bit_fields;  // weight_bits and input_bits tell the quantization, instead of quantization_config
};

// kInvalidArgument: model_type is missing or none that is known, with those that are.
absl::StatusOr<const Architecture*> FindArchitecture(const JsonFields& fields);

}  // namespace ternion
