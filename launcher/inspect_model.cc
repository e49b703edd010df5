#include "launcher/inspect_model.h"

#include <cstdio>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "kernels/status.h"
#include "runtime/checkpoint/converted.h"

namespace ternion {
namespace {

using nlohmann::ordered_json;

// Weights of all linear layers.
int64_t LinearParameters(const ModelShape& shape) {
  const int64_t attention = int64_t{shape.heads} * shape.head_dim;
  const int64_t kv = int64_t{shape.kv_heads} * shape.head_dim;
  return shape.layers * (shape.hidden * (2 * attention + 2 * kv) + 3 * shape.hidden * shape.ffn);
}

const char* DenseName(const ModelConfig& config) {
  return config.dense == DenseType::kFloat16 ? "float16" : "bfloat16";
}

std::string LinearKind(const ModelConfig& config) {
  switch (config.weight_kind) {
    case WeightKind::kTernary:
      return "ternary";
    case WeightKind::kUniform:
      return absl::StrCat("INT", config.uniform.bits);
    case WeightKind::kDense:
      return DenseName(config);
  }
  return "";
}

std::string TernaryText(const ModelConfig& config, bool converted) {
  const char* form = config.weight_form == WeightForm::kOffline ? "packed" : "quantized when loaded";
  std::string text = absl::StrCat("ternary weights (", converted ? "converted" : form, "), ",
                                  config.input == InputQuantization::kInt4 ? "INT4" : "INT8", " inputs");
  if (config.attention_topk < 1) {
    absl::StrAppendFormat(&text, ", %.0f %% of o_proj's inputs kept", 100 * config.attention_topk);
  }
  return text;
}

std::string GroupText(const ModelConfig& config) {
  if (config.uniform.group != 0) return absl::StrCat("groups of ", config.uniform.group);
  return config.row_scales == 1 ? "a scale for each row"
                                : absl::StrCat(config.row_scales, " scales for each row");
}

std::string QuantizationText(const ModelConfig& config, bool converted) {
  switch (config.weight_kind) {
    case WeightKind::kTernary:
      return TernaryText(config, converted);
    case WeightKind::kUniform:
      return absl::StrCat("uniform INT", config.uniform.bits, " weights, ", GroupText(config), ", ",
                          config.uniform.scale == ScaleType::kFloat16 ? "float16" : "float32",
                          " scales; inputs stay floats");
    case WeightKind::kDense:
      return absl::StrCat("none: ", DenseName(config), " weights, inputs stay floats");
  }
  return "";
}

std::string FeedForwardText(const ModelConfig& config) {
  return absl::StrCat(config.activation == Activation::kRelu2 ? "ReLU^2" : "SiLU",
                      config.sub_norms() ? ", sub-norms" : "",
                      config.linear_norms ? ", a norm before every linear layer" : "",
                      config.architecture->qkv_bias ? ", biases of queries, keys and values" : "");
}

void PrintConverted(const ConvertedManifest& manifest) {
  std::printf("converted        for tp %d, pp %d; packing %s; from %s, digest %s\n", manifest.tp, manifest.pp,
              std::string(PackingName(manifest.packing)).c_str(), manifest.source.c_str(),
              manifest.source_digest.c_str());
  std::printf("SHA-256 of all   %s\n", manifest.Digest().c_str());
}

ordered_json ConvertedJson(const ConvertedManifest& manifest) {
  return {{"tp", manifest.tp},
          {"pp", manifest.pp},
          {"packing", PackingName(manifest.packing)},
          {"source", manifest.source},
          {"source_digest", manifest.source_digest},
          {"sha256", manifest.Digest()}};
}

}  // namespace

ModelFacts FactsOf(const JobOptions& options, const WeightSource& source) {
  const ModelConfig& config = source.config();
  ModelFacts facts;
  facts.name = options.ModelName();
  facts.digest = source.Digest();
  facts.linear_kind = LinearKind(config);
  facts.linear_parameters = LinearParameters(config.shape);
  facts.table_parameters = config.shape.vocab * config.shape.hidden * (config.tied_embeddings ? 1 : 2);
  const WeightMemory memory = PredictWeightMemory(config, {});
  facts.linear_bits =
      8 * static_cast<double>(memory.linear_bytes) / static_cast<double>(facts.linear_parameters);
  facts.all_bits = 8 * static_cast<double>(memory.total()) /
                   static_cast<double>(facts.linear_parameters + facts.table_parameters);
  if (options.synthetic.empty() && IsConverted(options.model)) {
    auto manifest = ReadFolderManifest(options.model);
    if (manifest.ok()) facts.converted = *std::move(manifest);
  }
  facts.quantization = QuantizationText(config, facts.converted.has_value());
  return facts;
}

void PrintModel(const ModelFacts& facts, const ModelConfig& config) {
  const ModelShape& shape = config.shape;
  std::printf("model            %s\n", facts.name.c_str());
  std::printf("digest           %s\n", facts.digest.c_str());
  if (facts.converted.has_value()) PrintConverted(*facts.converted);
  std::printf("layers           %d\n", shape.layers);
  std::printf("hidden, ffn      %lld, %lld\n", static_cast<long long>(shape.hidden),
              static_cast<long long>(shape.ffn));
  std::printf("heads            %d of %d channels, %d for keys and values\n", shape.heads, shape.head_dim,
              shape.kv_heads);
  std::printf("vocabulary       %lld, %s\n", static_cast<long long>(shape.vocab),
              config.tied_embeddings ? "head tied to the embedding" : "head of its own");
  std::printf("positions        %lld\n", static_cast<long long>(config.max_positions));
  std::printf("quantization     %s\n", facts.quantization.c_str());
  std::printf("feed-forward     %s\n", FeedForwardText(config).c_str());
  std::printf("parameters       %.1f M %s, %.1f M in tables of bfloat16\n",
              static_cast<double>(facts.linear_parameters) / 1e6, facts.linear_kind.c_str(),
              static_cast<double>(facts.table_parameters) / 1e6);
  std::printf("bits a weight    %.2f of linear layers, %.2f of all with tables, norms and scales\n",
              facts.linear_bits, facts.all_bits);
}

ordered_json ModelJson(const ModelFacts& facts, const ModelConfig& config) {
  const ModelShape& shape = config.shape;
  ordered_json json = {
      {"model", facts.name},
      {"digest", facts.digest},
      {"layers", shape.layers},
      {"hidden", shape.hidden},
      {"ffn", shape.ffn},
      {"heads", shape.heads},
      {"kv_heads", shape.kv_heads},
      {"head_dim", shape.head_dim},
      {"vocabulary", shape.vocab},
      {"tied_embeddings", config.tied_embeddings},
      {"positions", config.max_positions},
      {"quantization", facts.quantization},
      {"linear_kind", facts.linear_kind},
      {"activation", config.activation == Activation::kRelu2 ? "relu2" : "silu"},
      {"parameters", {{"linear", facts.linear_parameters}, {"tables", facts.table_parameters}}},
      {"bits_per_weight", {{"linear", facts.linear_bits}, {"all", facts.all_bits}}}};
  if (facts.converted.has_value()) json["converted"] = ConvertedJson(*facts.converted);
  return json;
}

}  // namespace ternion
