#include "runtime/model/config.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "kernels/status.h"
#include "runtime/checkpoint/json.h"
#include "runtime/checkpoint/mapped_file.h"
#include "runtime/model/quantization_config.h"

namespace ternion {
namespace {

// Bounds that no model comes near, so that products of these numbers stay far from 64 bits.
constexpr int64_t kMostWidth = int64_t{1} << 20;
constexpr int64_t kMostFfn = int64_t{1} << 22;
constexpr int64_t kMostLayers = 4096;
constexpr int64_t kMostHeads = 4096;
constexpr int64_t kMostHeadDim = 4096;
constexpr int64_t kMostVocab = int64_t{1} << 24;
constexpr int64_t kMostPositions = int64_t{1} << 28;
constexpr size_t kMostConfigBytes = 1 << 20;
constexpr size_t kMostConfigMemory = 1 << 19;  // that its values take

absl::Status ReadHeads(const JsonFields& fields, ModelShape& shape) {
  TERNION_ASSIGN_OR_RETURN(shape.heads, fields.Int("num_attention_heads", 1, kMostHeads));
  shape.kv_heads = shape.heads;
  if (fields.Has("num_key_value_heads")) {
    TERNION_ASSIGN_OR_RETURN(shape.kv_heads, fields.Int("num_key_value_heads", 1, shape.heads));
  }
  if (shape.heads % shape.kv_heads != 0) {
    return fields.Wrong("num_key_value_heads",
                        absl::StrCat("it must divide num_attention_heads, which is ", shape.heads));
  }
  if (fields.Has("head_dim")) {
    TERNION_ASSIGN_OR_RETURN(shape.head_dim, fields.Int("head_dim", 2, kMostHeadDim));
    if (shape.head_dim % 2 != 0)
      return fields.Wrong("head_dim", "it must be even: RoPE rotates pairs of channels");
    return absl::OkStatus();
  }
  shape.head_dim = static_cast<int>(shape.hidden / shape.heads);
  if (shape.hidden % shape.heads != 0 || shape.head_dim % 2 != 0) {
    return fields.Wrong("hidden_size", absl::StrCat("without head_dim it must be an even multiple of "
                                                    "num_attention_heads, which is ",
                                                    shape.heads));
  }
  return absl::OkStatus();
}

absl::Status ReadShape(const JsonFields& fields, ModelShape& shape) {
  TERNION_ASSIGN_OR_RETURN(shape.hidden, fields.Int("hidden_size", 32, kMostWidth));
  if (shape.hidden % 32 != 0) return fields.Wrong("hidden_size", "it must be a multiple of 32");
  TERNION_ASSIGN_OR_RETURN(shape.ffn, fields.Int("intermediate_size", 1, kMostFfn));
  TERNION_ASSIGN_OR_RETURN(shape.layers, fields.Int("num_hidden_layers", 1, kMostLayers));
  TERNION_ASSIGN_OR_RETURN(shape.vocab, fields.Int("vocab_size", 1, kMostVocab));
  return ReadHeads(fields, shape);
}

// What the forward pass does not know, so that a model which needs it is not run wrongly.
absl::Status RefuseUnsupported(const JsonFields& fields) {
  for (const char* field : {"attention_bias", "mlp_bias"}) {
    TERNION_ASSIGN_OR_RETURN(const bool bias, fields.BoolOr(field, false));
    if (bias) return fields.Unsupported(field, "biases are not supported: it must be false");
  }
  // Qwen2's files give a window that they do not use.
  TERNION_ASSIGN_OR_RETURN(const bool window, fields.BoolOr("use_sliding_window", true));
  if (window && fields.Has("sliding_window")) {
    return fields.Unsupported("sliding_window", "only full attention is supported: it must be null");
  }
  return absl::OkStatus();
}

absl::Status ReadArchitecture(const JsonFields& fields, ModelConfig& config) {
  TERNION_ASSIGN_OR_RETURN(config.architecture, FindArchitecture(fields));
  TERNION_ASSIGN_OR_RETURN(const std::string act, fields.Choice("hidden_act", {"relu2", "silu"}));
  config.activation = act == "relu2" ? Activation::kRelu2 : Activation::kSilu;
  TERNION_ASSIGN_OR_RETURN(config.tied_embeddings, fields.BoolOr("tie_word_embeddings", false));
  TERNION_ASSIGN_OR_RETURN(config.rms_norm_eps, fields.Number("rms_norm_eps", 0, 1));
  config.sub_norm_eps = config.rms_norm_eps;
  TERNION_ASSIGN_OR_RETURN(config.max_positions, fields.Int("max_position_embeddings", 1, kMostPositions));
  TERNION_ASSIGN_OR_RETURN(config.rope, ReadRope(fields));
  TERNION_ASSIGN_OR_RETURN(config.bos_ids, fields.Ids("bos_token_id", config.shape.vocab - 1));
  TERNION_ASSIGN_OR_RETURN(config.eos_ids, fields.Ids("eos_token_id", config.shape.vocab - 1));
  return RefuseUnsupported(fields);
}

absl::Status ReadTopK(const JsonFields& activations, ModelConfig& config) {
  TERNION_ASSIGN_OR_RETURN(config.attention_topk, activations.Number("attention_output_topk", 0, 1));
  const double channels = static_cast<double>(config.shape.heads) * config.shape.head_dim;
  if (std::floor(channels * config.attention_topk + 0.5) < 1) {
    return activations.Wrong("attention_output_topk", "it must keep at least one channel");
  }
  return absl::OkStatus();
}

absl::Status ReadActivationQuantization(const JsonFields& fields, ModelConfig& config) {
  if (!fields.Has("activation_quantization")) return absl::OkStatus();
  TERNION_ASSIGN_OR_RETURN(const JsonFields activations, fields.Object("activation_quantization"));
  TERNION_RETURN_IF_ERROR(activations.Choice("scheme", {"bitnet-a4.8"}).status());
  // A field that is passed over could be one that changes the arithmetic.
  constexpr std::string_view kKnown[] = {"scheme", "input", "attention_output", "attention_output_topk",
                                         "ffn_intermediate"};
  for (const auto& [field, value] : fields.Find("activation_quantization")->items()) {
    if (std::find(std::begin(kKnown), std::end(kKnown), field) == std::end(kKnown)) {
      return activations.Unsupported(field, "bitnet-a4.8 has no such field here");
    }
  }
  TERNION_ASSIGN_OR_RETURN(const std::string input, activations.Choice("input", {"int4", "fp4"}));
  if (input == "fp4") return activations.Unsupported("input", "fp4 is not supported yet; \"int4\" is");
  config.input = InputQuantization::kInt4;
  for (const char* field : {"attention_output", "ffn_intermediate"}) {
    if (activations.Has(field)) TERNION_RETURN_IF_ERROR(activations.Choice(field, {"int8"}).status());
  }
  return ReadTopK(activations, config);
}

void AddIds(const std::vector<int32_t>& more, std::vector<int32_t>& ids) {
  for (const int32_t id : more) {
    if (std::find(ids.begin(), ids.end(), id) == ids.end()) ids.push_back(id);
  }
}

// The end-of-sequence ids that generation_config.json names beside the config's.
absl::Status AddGenerationEos(const std::filesystem::path& file, ModelConfig& config) {
  std::error_code ignored;
  if (!std::filesystem::exists(file, ignored)) return absl::OkStatus();
  TERNION_ASSIGN_OR_RETURN(const std::string text, ReadTextFile(file, kMostConfigBytes));
  TERNION_ASSIGN_OR_RETURN(
      const auto document,
      ParseJson(text, file.string(), absl::StatusCode::kInvalidArgument, kMostConfigMemory));
  TERNION_ASSIGN_OR_RETURN(const JsonFields fields, JsonFields::Of(document, file.string()));
  TERNION_ASSIGN_OR_RETURN(const auto ids, fields.Ids("eos_token_id", config.shape.vocab - 1));
  AddIds(ids, config.eos_ids);
  return absl::OkStatus();
}

// Older GPTQ programs keep the quantization in a file of its own. What errors then call the field.
absl::StatusOr<JsonFields::Names> AddQuantizeConfig(const std::filesystem::path& folder,
                                                    nlohmann::json& document, std::string& text) {
  constexpr char kField[] = "quantization_config";
  const std::filesystem::path file = folder / "quantize_config.json";
  std::error_code ignored;
  if (!document.is_object() || document.contains(kField) || !std::filesystem::exists(file, ignored)) {
    return JsonFields::Names();
  }
  TERNION_ASSIGN_OR_RETURN(const std::string more, ReadTextFile(file, kMostConfigBytes));
  TERNION_ASSIGN_OR_RETURN(
      auto quantization,
      ParseJson(more, file.string(), absl::StatusCode::kInvalidArgument, kMostConfigMemory));
  TERNION_RETURN_IF_ERROR(JsonFields::Of(quantization, file.string()).status());
  quantization.emplace("quant_method", "gptq");
  document[kField] = std::move(quantization);
  absl::StrAppend(&text, "\n", more);
  return JsonFields::Names{{kField, "quantize_config.json"}};
}

}  // namespace

absl::StatusOr<ModelConfig> ReadModelConfig(const std::filesystem::path& file) {
  TERNION_ASSIGN_OR_RETURN(std::string text, ReadTextFile(file, kMostConfigBytes));
  TERNION_ASSIGN_OR_RETURN(
      auto document, ParseJson(text, file.string(), absl::StatusCode::kInvalidArgument, kMostConfigMemory));
  TERNION_ASSIGN_OR_RETURN(const JsonFields::Names names,
                           AddQuantizeConfig(file.parent_path(), document, text));
  TERNION_ASSIGN_OR_RETURN(const JsonFields fields, JsonFields::Of(document, file.string(), &names));
  TERNION_ASSIGN_OR_RETURN(ModelConfig config, ModelConfigOf(fields));
  config.text = std::move(text);
  TERNION_RETURN_IF_ERROR(AddGenerationEos(file.parent_path() / "generation_config.json", config));
  return config;
}

absl::StatusOr<ModelConfig> ParseModelConfig(std::string_view text, std::string_view where) {
  TERNION_ASSIGN_OR_RETURN(const auto document,
                           ParseJson(text, where, absl::StatusCode::kInvalidArgument, kMostConfigMemory));
  TERNION_ASSIGN_OR_RETURN(const JsonFields fields, JsonFields::Of(document, where));
  TERNION_ASSIGN_OR_RETURN(ModelConfig config, ModelConfigOf(fields));
  config.text = std::string(text);
  return config;
}

absl::StatusOr<ModelConfig> ModelConfigOf(const JsonFields& fields) {
  ModelConfig config;
  TERNION_RETURN_IF_ERROR(ReadShape(fields, config.shape));
  TERNION_RETURN_IF_ERROR(ReadArchitecture(fields, config));
  TERNION_RETURN_IF_ERROR(ReadWeightQuantization(fields, config));
  TERNION_RETURN_IF_ERROR(ReadActivationQuantization(fields, config));
  return config;
}

}  // namespace ternion
