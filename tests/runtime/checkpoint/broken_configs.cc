// config.json files that somebody edited, or made to overflow what is computed from them.
#include "tests/runtime/checkpoint/broken_model.h"

namespace ternion {
namespace {

using nlohmann::json;

constexpr char kBase[] = "llama_bitnet";
constexpr char kConfig[] = "config.json";
constexpr int64_t kHuge = int64_t{1} << 62;

BrokenCase Field(const char* name, const char* field, json value) {
  return {name, kBase, Config(field, std::move(value)), {kConfig, field}};
}
BrokenCase Absent(const char* name, const char* field) {
  return {name, kBase, ConfigWithout(field), {kConfig, field}};
}
BrokenCase Text(const char* name, std::string text) {
  return {name, kBase, ConfigText(std::move(text)), {kConfig}};
}
// What a config says of the weights, and they deny.
BrokenCase Denied(const char* name, const char* field, json value, const char* tensor) {
  return {name, kBase, Config(field, std::move(value)), {tensor}};
}

std::string Numbers(int count) {
  std::string all = "[0";
  for (int i = 0; i < count; ++i) all += ",0";
  return all + "]";
}

std::string WithText(const std::string& field, const std::string& text) {
  json config = BrokenModel::Of(kBase).config;
  config[field] = "MARK";
  std::string all = config.dump();
  return all.replace(all.find("\"MARK\""), 6, text);
}

}  // namespace

const std::vector<BrokenCase> kBrokenConfigs = {
    Text("Empty", ""),
    Text("Null", "null"),
    Text("List", "[]"),
    Text("Brace", "{"),
    Text("Nothing", "{}"),
    Text("Binary", std::string("\x00\x01\x02\xff", 4)),
    Text("Python", "{'model_type': 'llama'}"),
    Text("TooLong", "{\"a\":\"" + std::string(2 << 20, 'x') + "\"}"),
    Text("ManyBlanks", "{\"a\":[0" + std::string(200'000, ' ') + "]}"),
    Text("ManyNumbers", WithText("note", Numbers(25'000))),
    Text("FieldTwice", WithText("rope_theta", "10000.0,\"hidden_size\":128")),
    Text("NotUtf8", WithText("note", "\"\xff\"")),
    Text("NestedDeep", WithText("note", std::string(1000, '[') + std::string(1000, ']'))),
    {"ConfigIsAFolder",
     kBase,
     After([](const std::filesystem::path& folder) {
       std::filesystem::remove(folder / kConfig);
       std::filesystem::create_directory(folder / kConfig);
     }),
     {kConfig, "not a plain file"}},
    {"GenerationConfigCut",
     kBase,
     After([](const std::filesystem::path& folder) {
       std::filesystem::copy_file(folder / kConfig, folder / "generation_config.json");
       std::filesystem::resize_file(folder / "generation_config.json", 50);
     }),
     {"generation_config.json", "JSON"}},

    Field("HiddenZero", "hidden_size", 0),
    Field("HiddenNegative", "hidden_size", -128),
    Field("HiddenOdd", "hidden_size", 129),
    Field("HiddenText", "hidden_size", "128"),
    Field("HiddenFloat", "hidden_size", 128.5),
    Field("HiddenBeyond", "hidden_size", kHuge),
    Absent("HiddenAbsent", "hidden_size"),
    Denied("HiddenTwice", "hidden_size", 256, "model.embed_tokens.weight"),
    Denied("HiddenMost", "hidden_size", 1 << 20, "model.embed_tokens.weight"),
    Field("FfnZero", "intermediate_size", 0),
    Field("FfnNegative", "intermediate_size", -384),
    Field("FfnList", "intermediate_size", {384, 384}),
    Field("FfnBeyond", "intermediate_size", kHuge),
    Denied("FfnOther", "intermediate_size", 256, "mlp.gate_proj"),
    Denied("FfnMost", "intermediate_size", 1 << 22, "mlp.gate_proj"),
    Field("LayersZero", "num_hidden_layers", 0),
    Field("LayersNegative", "num_hidden_layers", -1),
    Field("LayersBeyond", "num_hidden_layers", kHuge),
    Denied("LayersOneMore", "num_hidden_layers", 3, "model.layers.2."),
    Denied("LayersMost", "num_hidden_layers", 4096, "model.layers.2."),
    Field("HeadsZero", "num_attention_heads", 0),
    Field("HeadsNegative", "num_attention_heads", -4),
    Field("HeadsDoNotDivide", "num_attention_heads", 5),
    Field("HeadsNull", "num_attention_heads", nullptr),
    Field("KvHeadsZero", "num_key_value_heads", 0),
    Field("KvHeadsMore", "num_key_value_heads", 8),
    Field("KvHeadsDoNotDivide", "num_key_value_heads", 3),
    Denied("KvHeadsOther", "num_key_value_heads", 4, "k_proj"),
    Field("HeadDimZero", "head_dim", 0),
    Field("HeadDimOdd", "head_dim", 31),
    Field("HeadDimBeyond", "head_dim", 1 << 20),
    Denied("HeadDimOther", "head_dim", 64, "q_proj"),
    Denied("HeadDimMost", "head_dim", 4096, "q_proj"),
    Field("VocabZero", "vocab_size", 0),
    Field("VocabNegative", "vocab_size", -128),
    Field("VocabBeyond", "vocab_size", kHuge),
    Denied("VocabOneMore", "vocab_size", 129, "model.embed_tokens.weight"),
    Denied("VocabMost", "vocab_size", 1 << 24, "model.embed_tokens.weight"),
    Field("PositionsZero", "max_position_embeddings", 0),
    Field("PositionsBeyond", "max_position_embeddings", kHuge),
    Field("EpsilonZero", "rms_norm_eps", 0),
    Field("EpsilonNegative", "rms_norm_eps", -1e-5),
    Field("EpsilonText", "rms_norm_eps", "1e-5"),
    Text("EpsilonInfinite", WithText("rms_norm_eps", "1e999")),
    Text("EpsilonNan", WithText("rms_norm_eps", "NaN")),
    Field("ThetaZero", "rope_theta", 0),
    Field("ThetaNegative", "rope_theta", -10000),
    Absent("ThetaAbsent", "rope_theta"),
    Field("RopeScalingUnknown", "rope_scaling", {{"rope_type", "spiral"}, {"factor", 8}}),
    Field("RopeScalingText", "rope_scaling", "linear"),
    Field("ModelTypeUnknown", "model_type", "gpt2"),
    Field("ModelTypeNumber", "model_type", 7),
    Absent("ModelTypeAbsent", "model_type"),
    Field("ActivationUnknown", "hidden_act", "gelu"),
    Field("TiedText", "tie_word_embeddings", "false"),
    Field("BosOutside", "bos_token_id", 128),
    Field("BosNegative", "bos_token_id", -1),
    Field("EosText", "eos_token_id", "</s>"),
    Field("EosListOutside", "eos_token_id", {2, 4096}),
    Field("QuantizationText", "quantization_config", "bitnet"),
    Field("QuantizationList", "quantization_config", {"bitnet"}),
    {"QuantizationEmpty", kBase, Config("quantization_config", json::object()), {kConfig, "quant_method"}},
    {"QuantMethodUnknown",
     kBase,
     Config("quantization_config.quant_method", "awq"),
     {kConfig, "quant_method", "awq"}},
    {"QuantMethodNumber", kBase, Config("quantization_config.quant_method", 2), {kConfig, "quant_method"}},
    {"LinearClassUnknown",
     kBase,
     Config("quantization_config.linear_class", "bitlinear2"),
     {kConfig, "linear_class"}},
    {"QuantizationModeUnknown",
     kBase,
     Config("quantization_config.quantization_mode", "both"),
     {kConfig, "quantization_mode"}},
    {"QuantizationModeDenied", kBase, Config("quantization_config.quantization_mode", "online"), {"q_proj"}},
    {"UseRmsNormText", kBase, Config("quantization_config.use_rms_norm", "yes"), {kConfig, "use_rms_norm"}},
};

}  // namespace ternion
