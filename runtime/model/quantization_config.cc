#include "runtime/model/quantization_config.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "kernels/status.h"
#include "runtime/checkpoint/json.h"
#include "runtime/model/config.h"

namespace ternion {
namespace {

constexpr int64_t kMostGroup = int64_t{1} << 20;

// transformers' BitLinear and AutoBitLinear.
absl::Status ReadBitNet(const JsonFields& quantization, ModelConfig& config) {
  config.weight_scale = WeightScale::kDivide;
  if (quantization.Has("linear_class")) {
    TERNION_ASSIGN_OR_RETURN(const std::string linear,
                             quantization.Choice("linear_class", {"autobitlinear", "bitlinear"}));
    if (linear == "autobitlinear") config.weight_scale = WeightScale::kMultiply;
  }
  if (quantization.Has("quantization_mode")) {
    TERNION_ASSIGN_OR_RETURN(const std::string mode,
                             quantization.Choice("quantization_mode", {"offline", "online"}));
    if (mode == "online") config.weight_form = WeightForm::kOnline;
  }
  TERNION_ASSIGN_OR_RETURN(config.linear_norms, quantization.BoolOr("use_rms_norm", false));
  if (!config.linear_norms) return absl::OkStatus();
  if (!config.architecture->attn_sub_norm.empty()) {
    return quantization.Unsupported("use_rms_norm",
                                    "a model that has sub-norms has no norm in every linear layer");
  }
  config.sub_norm_eps = 1e-6f;  // transformers' default
  if (quantization.Has("rms_norm_eps")) {
    TERNION_ASSIGN_OR_RETURN(config.sub_norm_eps, quantization.Number("rms_norm_eps", 0, 1));
  }
  return absl::OkStatus();
}

// AutoGPTQ's and GPTQModel's fields; EfficientQAT writes them too.
absl::Status ReadGptq(const JsonFields& quantization, ModelConfig& config) {
  config.weight_kind = WeightKind::kUniform;
  TERNION_ASSIGN_OR_RETURN(const int64_t bits, quantization.Int("bits", 1, 64));
  if (bits < 2 || bits > 4) return quantization.Unsupported("bits", "2, 3 and 4 are supported");
  config.uniform.bits = static_cast<int>(bits);
  const nlohmann::json* group = quantization.Find("group_size");
  if (group != nullptr && *group == -1) {
    config.uniform.group = 0;
  } else {
    TERNION_ASSIGN_OR_RETURN(config.uniform.group, quantization.Int("group_size", 1, kMostGroup));
    if (config.uniform.group % 32 != 0)
      return quantization.Unsupported("group_size", "multiples of 32, and -1, are supported");
  }
  // Whatever it says, g_idx tells the order.
  TERNION_RETURN_IF_ERROR(quantization.BoolOr("desc_act", false).status());
  config.zero_point = ZeroPoint::kMinusOne;
  const char* const key = "checkpoint_format";
  if (quantization.Has(key)) {
    const nlohmann::json& format = *quantization.Find(key);
    if (format != "gptq" && format != "gptq_v2")
      return quantization.Unsupported(key, "\"gptq\" and \"gptq_v2\" are supported");
    if (format == "gptq_v2") config.zero_point = ZeroPoint::kAsStored;
  }
  TERNION_ASSIGN_OR_RETURN(const bool head, quantization.BoolOr("lm_head", false));
  if (head) return quantization.Unsupported("lm_head", "a quantized head is not supported: it must be false");
  return absl::OkStatus();
}

// 1bitLLM's config says it in two numbers.
absl::Status ReadBitFields(const JsonFields& fields, ModelConfig& config) {
  config.weight_form = WeightForm::kOnline;
  for (const auto& [field, bits] : {std::pair("weight_bits", 1), std::pair("input_bits", 8)}) {
    TERNION_ASSIGN_OR_RETURN(const int64_t value, fields.Int(field, 1, 64));
    if (value != bits) return fields.Unsupported(field, absl::StrCat("only ", bits, " is supported"));
  }
  return absl::OkStatus();
}

// Ternary models and others do not come in every architecture.
absl::Status CheckKind(const JsonFields& fields, const ModelConfig& config) {
  const bool ternary = config.weight_kind == WeightKind::kTernary;
  const Architecture& architecture = *config.architecture;
  if (ternary && !architecture.ternary) {
    return fields.Unsupported("model_type",
                              "there are no ternary models of it here; \"bitnet\" and \"llama\" have some");
  }
  if (ternary) return absl::OkStatus();
  if (!architecture.floats) {
    return fields.Wrong("quantization_config",
                        absl::StrCat("a model of model_type \"", ToAbsl(architecture.model_type),
                                     "\" has one with quant_method \"bitnet\""));
  }
  if (config.activation != Activation::kSilu) {
    return fields.Unsupported("hidden_act", "a model with float activations has \"silu\"");
  }
  if (fields.Has("activation_quantization")) {
    return fields.Unsupported("activation_quantization", "it is for ternary models");
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ReadWeightQuantization(const JsonFields& fields, ModelConfig& config) {
  if (config.architecture->bit_fields) return ReadBitFields(fields, config);
  if (!fields.Has("quantization_config")) {
    config.weight_kind = WeightKind::kDense;
    return CheckKind(fields, config);
  }
  TERNION_ASSIGN_OR_RETURN(const JsonFields quantization, fields.Object("quantization_config"));
  TERNION_ASSIGN_OR_RETURN(const std::string method, quantization.Choice("quant_method", {"bitnet", "gptq"}));
  TERNION_RETURN_IF_ERROR(method == "bitnet" ? ReadBitNet(quantization, config)
                                             : ReadGptq(quantization, config));
  return CheckKind(fields, config);
}

}  // namespace ternion
