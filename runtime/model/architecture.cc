#include "runtime/model/architecture.h"

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "kernels/status.h"
#include "runtime/checkpoint/json.h"

namespace ternion {
namespace {

// The first that fits. 1bitLLM's models (bitnet_b1_58) call themselves llama and have a class of their own.
constexpr Architecture kArchitectures[] = {
    {.model_type = "bitnet",
     .class_name = "",
     .attn_sub_norm = "self_attn.attn_sub_norm",
     .ffn_sub_norm = "mlp.ffn_sub_norm",
     .qkv_bias = false,
     .ternary = true,
     .floats = false,
     .bit_fields = false},
    {.model_type = "llama",
     .class_name = "BitnetForCausalLM",
     .attn_sub_norm = "self_attn.inner_attn_ln",
     .ffn_sub_norm = "mlp.ffn_layernorm",
     .qkv_bias = false,
     .ternary = true,
     .floats = false,
     .bit_fields = true},
    {.model_type = "llama",
     .class_name = "",
     .attn_sub_norm = "",
     .ffn_sub_norm = "",
     .qkv_bias = false,
     .ternary = true,
     .floats = true,
     .bit_fields = false},
    {.model_type = "mistral",
     .class_name = "",
     .attn_sub_norm = "",
     .ffn_sub_norm = "",
     .qkv_bias = false,
     .ternary = false,
     .floats = true,
     .bit_fields = false},
    {.model_type = "qwen2",
     .class_name = "",
     .attn_sub_norm = "",
     .ffn_sub_norm = "",
     .qkv_bias = true,
     .ternary = false,
     .floats = true,
     .bit_fields = false},
};

bool HasClass(const JsonFields& fields, std::string_view name) {
  const nlohmann::json* classes = fields.Find("architectures");
  return classes != nullptr && classes->is_array() &&
         std::find(classes->begin(), classes->end(), name) != classes->end();
}

}  // namespace

absl::StatusOr<const Architecture*> FindArchitecture(const JsonFields& fields) {
  const nlohmann::json* type = fields.Find("model_type");
  std::vector<std::string> known;
  for (const Architecture& architecture : kArchitectures) {
    const bool fits = type != nullptr && *type == architecture.model_type;
    if (fits && (architecture.class_name.empty() || HasClass(fields, architecture.class_name)))
      return &architecture;
    if (architecture.class_name.empty())
      known.push_back(absl::StrCat("\"", ToAbsl(architecture.model_type), "\""));
  }
  return fields.Wrong("model_type", absl::StrCat("it must be ", absl::StrJoin(known, " or ")));
}

}  // namespace ternion
