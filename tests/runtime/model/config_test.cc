#include "runtime/model/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/support/temp_folder.h"

namespace ternion {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::filesystem::path Source(const std::string& path) { return std::string(TERNION_SOURCE_DIR) + "/" + path; }

json Good() {
  return {{"model_type", "bitnet"},
          {"hidden_act", "relu2"},
          {"hidden_size", 512},
          {"intermediate_size", 1536},
          {"num_hidden_layers", 8},
          {"num_attention_heads", 8},
          {"num_key_value_heads", 4},
          {"vocab_size", 4096},
          {"max_position_embeddings", 2048},
          {"rms_norm_eps", 1e-5},
          {"rope_theta", 10000.0},
          {"eos_token_id", 1},
          {"quantization_config", {{"quant_method", "bitnet"}}}};
}

json Llama() {
  json config = Good();
  config["model_type"] = "llama";
  config["hidden_act"] = "silu";
  config.erase("quantization_config");
  return config;
}

json Gptq(const char* field, const json& value) {
  json config = Llama();
  config["quantization_config"] = {{"quant_method", "gptq"}, {"bits", 2}, {"group_size", 64}};
  config["quantization_config"][field] = value;
  return config;
}

absl::StatusOr<ModelConfig> Parse(const json& config) {
  return ParseModelConfig(config.dump(), "m/config.json");
}

void ExpectRefused(const json& config, const std::string& message,
                   absl::StatusCode code = absl::StatusCode::kInvalidArgument) {
  const auto parsed = Parse(config);
  ASSERT_FALSE(parsed.ok()) << message;
  EXPECT_EQ(parsed.status().code(), code) << parsed.status();
  EXPECT_THAT(std::string(parsed.status().message()),
              AllOf(HasSubstr("m/config.json: "), HasSubstr(message)));
}

void ExpectRefused(const std::string& field, const json& value, const std::string& message,
                   absl::StatusCode code = absl::StatusCode::kInvalidArgument) {
  json config = Good();
  config[field] = value;
  ExpectRefused(config, message, code);
}

TEST(ReadModelConfig, ReadsTheDemoModel) {
  const auto config = ReadModelConfig(Source("configs/demo/config.json"));
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->shape.hidden, 512);
  EXPECT_EQ(config->shape.ffn, 1536);
  EXPECT_EQ(config->shape.layers, 8);
  EXPECT_EQ(config->shape.heads, 8);
  EXPECT_EQ(config->shape.kv_heads, 4);
  EXPECT_EQ(config->shape.head_dim, 64);
  EXPECT_EQ(config->shape.vocab, 4096);
  EXPECT_EQ(config->activation, Activation::kRelu2);
  EXPECT_EQ(config->input, InputQuantization::kInt4);
  EXPECT_EQ(config->attention_topk, 0.5);
  EXPECT_TRUE(config->sub_norms());
  EXPECT_TRUE(config->tied_embeddings);
  EXPECT_EQ(config->weight_scale, WeightScale::kMultiply);
  EXPECT_EQ(config->weight_form, WeightForm::kOffline);
  EXPECT_EQ(config->rms_norm_eps, 1e-5f);
  EXPECT_EQ(config->rope.theta, 1e4f);
  EXPECT_EQ(config->max_positions, 2048);
  EXPECT_THAT(config->bos_ids, ElementsAre(4080));
  EXPECT_THAT(config->eos_ids, ElementsAre(4081));
  EXPECT_THAT(config->text, HasSubstr("\"bitnet-a4.8\""));
}

TEST(ReadModelConfig, ReadsTheB158Demo) {
  const auto config = ReadModelConfig(Source("tests/data/demo-b1.58/config.json"));
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->input, InputQuantization::kInt8);
  EXPECT_EQ(config->attention_topk, 1.0);
}

// Weights without embedding and head, in billions.
double TernaryBillions(const ModelShape& s) {
  const double attention = 2.0 * s.heads * s.head_dim + 2.0 * s.kv_heads * s.head_dim;
  return s.layers * (attention + 3.0 * static_cast<double>(s.ffn)) * static_cast<double>(s.hidden) / 1e9;
}

TEST(ReadModelConfig, ReadsEveryShapeInConfigs) {
  const std::map<std::string, double> billions = {
      {"bitnet-2b-4t", 2.08}, {"llama3-8b-1.58", 6.98}, {"falcon3-10b-1.58", 9.50}, {"a4.8-7b", 6.48},
      {"bitnet-70b", 68.45},  {"bitnet-100b", 97.81},   {"llama2-7b-w2g64", 6.48},  {"llama3-8b", 6.98}};
  size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(Source("configs/models"))) {
    ++files;
    const auto config = ReadModelConfig(entry.path());
    ASSERT_TRUE(config.ok()) << config.status();
    ASSERT_TRUE(billions.count(entry.path().stem().string())) << entry.path();
    EXPECT_NEAR(TernaryBillions(config->shape), billions.at(entry.path().stem().string()), 0.01)
        << entry.path();
    EXPECT_FALSE(config->eos_ids.empty());
  }
  EXPECT_EQ(files, billions.size());
}

TEST(ReadModelConfig, ReadsTheRelativesOfB158) {
  const auto falcon = ReadModelConfig(Source("configs/models/falcon3-10b-1.58.json"));
  ASSERT_TRUE(falcon.ok()) << falcon.status();
  EXPECT_EQ(falcon->activation, Activation::kSilu);
  EXPECT_FALSE(falcon->sub_norms());
  EXPECT_FALSE(falcon->tied_embeddings);
  EXPECT_EQ(falcon->weight_scale, WeightScale::kDivide);
  EXPECT_EQ(falcon->shape.head_dim, 256);
  EXPECT_EQ(falcon->rope.theta, 1000042.0f);
}

TEST(ReadModelConfig, JoinsTheEosOfGenerationConfig) {
  const TempFolder folder;
  json config = Good();
  config["eos_token_id"] = {7, 8};
  const auto file = folder.Write("config.json", config.dump());
  folder.Write("generation_config.json", R"({"eos_token_id": [8, 9], "temperature": 0.6})");
  EXPECT_THAT(ReadModelConfig(file)->eos_ids, ElementsAre(7, 8, 9));
  folder.Write("generation_config.json", R"({"eos_token_id": 10})");
  EXPECT_THAT(ReadModelConfig(file)->eos_ids, ElementsAre(7, 8, 10));
  folder.Write("generation_config.json", R"({"eos_token_id": 4096})");
  const auto outside = ReadModelConfig(file);
  EXPECT_EQ(outside.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(
      std::string(outside.status().message()),
      HasSubstr("generation_config.json: eos_token_id is 4096; it must be a token id from 0 to 4095"));
}

TEST(ReadModelConfig, TakesTheQuantizationFromAFileOfItsOwn) {
  const TempFolder folder;
  const auto file = folder.Write("config.json", Llama().dump());
  folder.Write("quantize_config.json", R"({"bits": 4, "group_size": 128, "desc_act": false})");
  const auto config = ReadModelConfig(file);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->uniform, (UniformFormat{4, 128, ScaleType::kFloat16}));
  EXPECT_EQ(config->zero_point, ZeroPoint::kMinusOne);
  folder.Write("quantize_config.json", R"({"bits": 5, "group_size": 128})");
  EXPECT_THAT(std::string(ReadModelConfig(file).status().message()),
              HasSubstr("config.json: quantize_config.json: bits is 5; 2, 3 and 4 are supported"));
  folder.Write("quantize_config.json", "[");
  EXPECT_THAT(std::string(ReadModelConfig(file).status().message()),
              HasSubstr("quantize_config.json: is not valid JSON"));
}

TEST(ReadModelConfig, NamesAMissingFile) {
  const auto config = ReadModelConfig("/no/such/config.json");
  EXPECT_EQ(config.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(config.status().message()), HasSubstr("/no/such/config.json"));
}

TEST(ParseModelConfig, FillsInWhatMayBeAbsent) {
  json sparse = Good();
  sparse.erase("num_key_value_heads");
  sparse.erase("eos_token_id");
  const auto config = Parse(sparse);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->shape.kv_heads, 8);
  EXPECT_FALSE(config->tied_embeddings);
  EXPECT_TRUE(config->eos_ids.empty());
  EXPECT_EQ(config->weight_scale, WeightScale::kDivide);
  EXPECT_EQ(config->input, InputQuantization::kInt8);
}

TEST(ParseModelConfig, ReadsNewerRopeParameters) {
  json config = Good();
  config.erase("rope_theta");
  config["rope_parameters"] = {{"rope_theta", 5e5}, {"rope_type", "default"}};
  EXPECT_EQ(Parse(config)->rope.theta, 5e5f);
  config["rope_parameters"]["rope_type"] = "yarn";
  ExpectRefused(config, "rope_type is \"yarn\"", absl::StatusCode::kUnimplemented);
}

TEST(ParseModelConfig, ReadsTheForms) {
  json config = Good();
  config["quantization_config"] = {
      {"quant_method", "bitnet"}, {"linear_class", "autobitlinear"}, {"quantization_mode", "online"}};
  EXPECT_EQ(Parse(config)->weight_form, WeightForm::kOnline);
  EXPECT_EQ(Parse(config)->weight_scale, WeightScale::kMultiply);
}

TEST(ParseModelConfig, RefusesWhatIsNotAConfig) {
  EXPECT_EQ(ParseModelConfig("", "f").status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ParseModelConfig("[]", "f").status().message(), "f: is []; it must be a JSON object");
  EXPECT_THAT(std::string(ParseModelConfig("{\"a\": 1, \"a\": 2}", "f").status().message()),
              HasSubstr("occurs twice"));
}

TEST(ParseModelConfig, RefusesMissingFields) {
  for (const char* field : {"model_type", "hidden_act", "hidden_size", "intermediate_size",
                            "num_hidden_layers", "num_attention_heads", "vocab_size",
                            "max_position_embeddings", "rms_norm_eps", "rope_theta", "quantization_config"}) {
    json config = Good();
    config.erase(field);
    ExpectRefused(config, std::string(field) + " is missing");
  }
}

TEST(ParseModelConfig, RefusesNumbersThatNoModelHas) {
  for (const char* field : {"hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
                            "num_key_value_heads", "vocab_size", "max_position_embeddings", "head_dim"}) {
    for (const json& value :
         {json(0), json(-1), json(1.5), json("8"), json(int64_t{1} << 40), json(UINT64_MAX)}) {
      ExpectRefused(field, value, std::string(field) + " is ");
    }
  }
  for (const char* field : {"rms_norm_eps", "rope_theta"}) {
    for (const json& value : {json(0), json(-1e-5), json("x"), json(1e300), json::array()}) {
      ExpectRefused(field, value, std::string(field) + " is ");
    }
  }
}

TEST(ParseModelConfig, RefusesShapesThatDoNotFit) {
  ExpectRefused("hidden_size", 520, "hidden_size is 520; it must be a multiple of 32");
  ExpectRefused("num_key_value_heads", 3,
                "num_key_value_heads is 3; it must divide num_attention_heads, which is 8");
  ExpectRefused("num_key_value_heads", 16, "num_key_value_heads is 16");
  ExpectRefused("head_dim", 63, "head_dim is 63; it must be even");
  json uneven = Good();
  uneven["num_attention_heads"] = 12;
  ExpectRefused(uneven, "hidden_size is 512; without head_dim");
}

TEST(ParseModelConfig, RefusesWhatTheForwardPassDoesNotKnow) {
  const auto unimplemented = absl::StatusCode::kUnimplemented;
  ExpectRefused("model_type", "gpt2",
                "model_type is \"gpt2\"; it must be \"bitnet\" or \"llama\" or \"mistral\" or \"qwen2\"");
  ExpectRefused("hidden_act", "gelu", "hidden_act is \"gelu\"; it must be \"relu2\" or \"silu\"");
  ExpectRefused("attention_bias", true, "attention_bias is true", unimplemented);
  ExpectRefused("mlp_bias", true, "mlp_bias is true", unimplemented);
  ExpectRefused("attention_bias", "no", "attention_bias is \"no\"; it must be true or false");
  ExpectRefused("rope_scaling", {{"type", "yarn"}}, "rope_scaling: type is \"yarn\"", unimplemented);
  ExpectRefused("rope_scaling", {{"type", "linear"}}, "rope_scaling: factor is missing");
  ExpectRefused("sliding_window", 4096, "sliding_window is 4096", unimplemented);
  ExpectRefused("tie_word_embeddings", 1, "tie_word_embeddings is 1");
  ExpectRefused("eos_token_id", 4096, "eos_token_id is 4096; it must be a token id from 0 to 4095");
  ExpectRefused("bos_token_id", "x", "bos_token_id is \"x\"");
}

TEST(ParseModelConfig, RefusesOtherWeightQuantization) {
  ExpectRefused("quantization_config", json(3), "quantization_config is 3");
  const auto with = [](const char* field, const json& value) {
    json config = Good();
    config["quantization_config"][field] = value;
    return config;
  };
  ExpectRefused(with("quant_method", "awq"),
                "quantization_config: quant_method is \"awq\"; it must be \"bitnet\" or \"gptq\"");
  ExpectRefused(with("linear_class", "linear"), "linear_class is \"linear\"");
  ExpectRefused(with("quantization_mode", "later"), "quantization_mode is \"later\"");
  ExpectRefused(with("use_rms_norm", true), "use_rms_norm is true", absl::StatusCode::kUnimplemented);
}

TEST(ParseModelConfig, ReadsModelsWithFloatActivations) {
  const auto dense = Parse(Llama());
  ASSERT_TRUE(dense.ok()) << dense.status();
  EXPECT_EQ(dense->weight_kind, WeightKind::kDense);
  EXPECT_FALSE(dense->sub_norms());

  const auto int2 = Parse(Gptq("checkpoint_format", "gptq_v2"));
  ASSERT_TRUE(int2.ok()) << int2.status();
  EXPECT_EQ(int2->weight_kind, WeightKind::kUniform);
  EXPECT_EQ(int2->uniform, (UniformFormat{2, 64, ScaleType::kFloat16}));
  EXPECT_EQ(int2->zero_point, ZeroPoint::kAsStored);
  EXPECT_EQ(Parse(Gptq("checkpoint_format", "gptq"))->zero_point, ZeroPoint::kMinusOne);
  EXPECT_EQ(Parse(Gptq("sym", true))->zero_point, ZeroPoint::kMinusOne);
  EXPECT_EQ(Parse(Gptq("group_size", -1))->uniform.group, 0);

  json qwen = Llama();
  qwen["model_type"] = "qwen2";
  qwen["sliding_window"] = 32768;
  ExpectRefused(qwen, "sliding_window is 32768", absl::StatusCode::kUnimplemented);
  qwen["use_sliding_window"] = false;
  ASSERT_TRUE(Parse(qwen).ok()) << Parse(qwen).status();
  EXPECT_TRUE(Parse(qwen)->architecture->qkv_bias);
}

TEST(ParseModelConfig, RefusesFloatModelsThatItDoesNotKnow) {
  const auto unimplemented = absl::StatusCode::kUnimplemented;
  ExpectRefused(Gptq("bits", 5), "bits is 5; 2, 3 and 4 are supported", unimplemented);
  ExpectRefused(Gptq("bits", "2"), "bits is \"2\"");
  ExpectRefused(Gptq("group_size", 0), "group_size is 0");
  ExpectRefused(Gptq("group_size", 48), "group_size is 48; multiples of 32, and -1, are supported",
                unimplemented);
  ExpectRefused(Gptq("checkpoint_format", "marlin"), "checkpoint_format is \"marlin\"", unimplemented);
  ExpectRefused(Gptq("lm_head", true), "lm_head is true", unimplemented);
  json config = Llama();
  config["hidden_act"] = "relu2";
  ExpectRefused(config, "hidden_act is \"relu2\"; a model with float activations has \"silu\"",
                unimplemented);
  config = Llama();
  config["activation_quantization"] = {{"scheme", "bitnet-a4.8"}};
  ExpectRefused(config, "activation_quantization is", unimplemented);
  config = Llama();
  config["model_type"] = "qwen2";
  config["quantization_config"] = {{"quant_method", "bitnet"}};
  ExpectRefused(config, "model_type is \"qwen2\"; there are no ternary models of it here", unimplemented);
}

TEST(ParseModelConfig, Reads1bitLlmsModels) {
  json config = Llama();
  config["architectures"] = {"BitnetForCausalLM"};
  config["weight_bits"] = 1;
  config["input_bits"] = 8;
  const auto parsed = Parse(config);
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->weight_kind, WeightKind::kTernary);
  EXPECT_EQ(parsed->weight_form, WeightForm::kOnline);
  EXPECT_TRUE(parsed->sub_norms());
  EXPECT_EQ(parsed->architecture->ffn_sub_norm, "mlp.ffn_layernorm");
  config["input_bits"] = 4;
  ExpectRefused(config, "input_bits is 4; only 8 is supported", absl::StatusCode::kUnimplemented);
}

TEST(ParseModelConfig, ReadsANormInEveryLinearLayer) {
  json config = Llama();
  config["quantization_config"] = {{"quant_method", "bitnet"}, {"use_rms_norm", true}};
  auto parsed = Parse(config);
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_TRUE(parsed->linear_norms);
  EXPECT_TRUE(parsed->sub_norms());
  EXPECT_EQ(parsed->sub_norm_eps, 1e-6f);
  config["quantization_config"]["rms_norm_eps"] = 1e-4;
  EXPECT_EQ(Parse(config)->sub_norm_eps, 1e-4f);
  EXPECT_EQ(Parse(config)->rms_norm_eps, 1e-5f);
}

TEST(ParseModelConfig, RefusesOtherActivationQuantization) {
  const auto with = [](const char* field, const json& value) {
    json config = Good();
    config["activation_quantization"] = {
        {"scheme", "bitnet-a4.8"}, {"input", "int4"}, {"attention_output_topk", 0.5}};
    config["activation_quantization"][field] = value;
    return config;
  };
  EXPECT_TRUE(Parse(with("attention_output", "int8")).ok());
  ExpectRefused(with("scheme", "w4a4"),
                "activation_quantization: scheme is \"w4a4\"; it must be \"bitnet-a4.8\"");
  ExpectRefused(with("input", "fp4"), "input is \"fp4\"; fp4 is not supported yet",
                absl::StatusCode::kUnimplemented);
  ExpectRefused(with("input", "int2"), "input is \"int2\"");
  ExpectRefused(with("attention_output", "int4"), "attention_output is \"int4\"");
  ExpectRefused(with("ffn_intermediate", "int4"), "ffn_intermediate is \"int4\"");
  ExpectRefused(with("attention_output_topk", nullptr), "attention_output_topk is missing");
  ExpectRefused(with("attention_output_topk", 0), "attention_output_topk is 0");
  ExpectRefused(with("attention_output_topk", 1.5), "attention_output_topk is 1.5");
  ExpectRefused(with("attention_output_topk", 1e-4), "it must keep at least one channel");
  ExpectRefused(with("kv_cache", "int3"), "kv_cache is \"int3\"", absl::StatusCode::kUnimplemented);
}

}  // namespace
}  // namespace ternion
