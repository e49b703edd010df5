#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "runtime/model/weights.h"
#include "tests/runtime/checkpoint/checkpoint_writer.h"
#include "tests/support/temp_folder.h"

namespace ternion {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr char kUp[] = "model.layers.1.mlp.up_proj";
constexpr char kNorm[] = "model.layers.1.input_layernorm.weight";

// A sound checkpoint; a test spoils it and expects a refusal that names the file and the tensor.
class BadCheckpoint : public ::testing::Test {
 protected:
  absl::Status Load(const ProcessGrid& grid = {}) {
    TinyModel::Write(folder_, config_, tensors_);
    const auto source = OpenCheckpoint(folder_.path());
    if (!source.ok()) return source.status();
    return (*source)->Load(grid, *backend_, [](double) {}).status();
  }

  void ExpectRefused(absl::StatusCode code, const std::string& tensor, const std::string& why) {
    const absl::Status status = Load();
    EXPECT_EQ(status.code(), code) << status;
    EXPECT_THAT(
        std::string(status.message()),
        AllOf(HasSubstr((folder_.path() / "model.safetensors").string()), HasSubstr(tensor), HasSubstr(why)));
  }

  TestTensor& Weight(const std::string& name) { return tensors_[name + ".weight"]; }

  const TempFolder folder_;
  const std::unique_ptr<Backend> backend_ = MakeCpuBackend(1);
  nlohmann::json config_ = TinyModel::Config();
  TestTensors tensors_ = TinyModel().Packed(0.5f);
};

TEST_F(BadCheckpoint, IsSoundUntilSpoilt) { EXPECT_TRUE(Load().ok()) << Load(); }

TEST_F(BadCheckpoint, MissingTensors) {
  for (const std::string& name : std::vector<std::string>{
           kNorm, std::string(kUp) + ".weight", std::string(kUp) + ".weight_scale",
           "model.embed_tokens.weight", "model.norm.weight", "model.layers.0.mlp.ffn_sub_norm.weight"}) {
    const TestTensor kept = tensors_[name];
    tensors_.erase(name);
    ExpectRefused(absl::StatusCode::kNotFound, name, "has no tensor");
    tensors_[name] = kept;
  }
  config_["tie_word_embeddings"] = false;
  ExpectRefused(absl::StatusCode::kNotFound, "lm_head.weight", "has no tensor");
}

TEST_F(BadCheckpoint, PackedWeightsOfAWrongShapeOrDtype) {
  Weight(kUp).shape = {64, 40};
  ExpectRefused(absl::StatusCode::kInvalidArgument, kUp, "is U8 [64, 40]; it must be U8 [40, 64]");
  Weight(kUp).shape = {40, 64};
  Weight(kUp).dtype = "I8";
  ExpectRefused(absl::StatusCode::kInvalidArgument, kUp, "is I8 [40, 64]; it must be U8 [40, 64]");
  Weight(kUp) = Bf16Tensor({160, 64}, std::vector<float>(160 * 64, 1.0f));
  ExpectRefused(absl::StatusCode::kInvalidArgument, kUp, "is BF16 [160, 64]; it must be U8 [40, 64]");
}

TEST_F(BadCheckpoint, NormsAndTablesOfAWrongShapeOrDtype) {
  tensors_[kNorm] = Bf16Tensor({32}, std::vector<float>(32, 1.0f));
  ExpectRefused(absl::StatusCode::kInvalidArgument, kNorm, "is BF16 [32]; it must be BF16 [64]");
  tensors_[kNorm] = {"I32", {64}, std::string(256, '\1')};
  ExpectRefused(absl::StatusCode::kInvalidArgument, kNorm,
                "is I32 [64]; it must be BF16 [64], or F16 or F32");
  tensors_[kNorm] = F32Tensor({64}, std::vector<float>(64, 1.0f));
  tensors_["model.embed_tokens.weight"].shape = {64, 300};
  ExpectRefused(absl::StatusCode::kInvalidArgument, "model.embed_tokens.weight", "it must be BF16 [300, 64]");
}

TEST_F(BadCheckpoint, TheCodeThree) {
  Weight(kUp).bytes[37 * 64 + 5] = static_cast<char>(0x55 | 0x30);  // byte row 37, third group: output 117
  ExpectRefused(absl::StatusCode::kDataLoss, kUp, "output channel 117 holds the code 3");
}

TEST_F(BadCheckpoint, TheCodeThreeIsFoundByTheRankThatOwnsIt) {
  Weight(kUp).bytes[37 * 64 + 5] = static_cast<char>(0x55 | 0x30);
  EXPECT_TRUE(Load({.tp = 2, .pp = 1, .rank = 0}).ok());
  EXPECT_EQ(Load({.tp = 2, .pp = 1, .rank = 1}).code(), absl::StatusCode::kDataLoss);
}

TEST_F(BadCheckpoint, AMatrixOfZeros) {
  for (const char* name : {"self_attn.q_proj", "self_attn.v_proj", "self_attn.o_proj", "mlp.down_proj"}) {
    const std::string base = std::string("model.layers.0.") + name;
    const std::string kept = Weight(base).bytes;
    Weight(base).bytes.assign(kept.size(), 0x55);  // four times the code 1
    ExpectRefused(absl::StatusCode::kInvalidArgument, base, "are zero");
    Weight(base).bytes = kept;
  }
}

TEST_F(BadCheckpoint, ValuesThatAreNotFinite) {
  const auto spoil = [](TestTensor& tensor) { tensor.bytes.replace(tensor.bytes.size() - 2, 2, "\xc0\x7f"); };
  const std::string kept = tensors_[kNorm].bytes;
  spoil(tensors_[kNorm]);
  ExpectRefused(absl::StatusCode::kDataLoss, kNorm, "not finite");
  tensors_[kNorm].bytes = kept;
  spoil(tensors_["model.embed_tokens.weight"]);
  ExpectRefused(absl::StatusCode::kDataLoss, "model.embed_tokens.weight", "not finite");
}

TEST_F(BadCheckpoint, WeightScalesThatScaleNothing) {
  const std::string name = std::string(kUp) + ".weight_scale";
  for (const char* linear_class : {"autobitlinear", "bitlinear"}) {
    config_["quantization_config"]["linear_class"] = linear_class;
    for (const float scale : {0.0f, -0.5f, INFINITY, NAN}) {
      tensors_[name] = F32Tensor({1}, {scale});
      ExpectRefused(absl::StatusCode::kDataLoss, name, "must be finite and positive");
    }
  }
  tensors_[name] = F32Tensor({2}, {1, 1});
  ExpectRefused(absl::StatusCode::kInvalidArgument, name, "it must be one BF16, F16 or F32 number");
}

TEST_F(BadCheckpoint, FloatWeightsThatAreNotFiniteOrPacked) {
  config_["quantization_config"]["quantization_mode"] = "online";
  ExpectRefused(absl::StatusCode::kInvalidArgument, "model.layers.0.self_attn.q_proj",
                "in quantization_mode online");
  config_["num_hidden_layers"] = 1;
  std::vector<float> values(64 * 64, 0.5f);
  values[100] = NAN;
  Weight("model.layers.0.self_attn.q_proj") = F32Tensor({64, 64}, values);
  ExpectRefused(absl::StatusCode::kDataLoss, "model.layers.0.self_attn.q_proj", "not finite");
  values.assign(64 * 64, 0.0f);
  Weight("model.layers.0.self_attn.q_proj") = F32Tensor({64, 64}, values);
  Weight("model.layers.0.self_attn.k_proj") = F32Tensor({32, 64}, std::vector<float>(32 * 64, 1.0f));
  Weight("model.layers.0.self_attn.v_proj") = F32Tensor({32, 64}, std::vector<float>(32 * 64, 1.0f));
  ExpectRefused(absl::StatusCode::kInvalidArgument, "model.layers.0.self_attn.q_proj", "are zero");
}

TEST_F(BadCheckpoint, SubNormsThatTheConfigDeniesAreNotPassedOver) {
  config_["model_type"] = "llama";
  ExpectRefused(absl::StatusCode::kInvalidArgument, "attn_sub_norm", "model_type");
}

TEST_F(BadCheckpoint, OutputsThatDoNotFillABytesFourGroups) {
  config_["intermediate_size"] = 162;
  const absl::Status status = Load();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("has 162 output channels; packed weights have a multiple of 4"));
}

TEST_F(BadCheckpoint, AFileThatIsCutShort) {
  const std::string whole = SafetensorsBytes(tensors_);
  folder_.Write("config.json", config_.dump());
  folder_.Write("model.safetensors", whole.substr(0, whole.size() - 100));
  const auto source = OpenCheckpoint(folder_.path());
  EXPECT_EQ(source.status().code(), absl::StatusCode::kDataLoss);
}

TEST_F(BadCheckpoint, AFolderWithoutAConfig) {
  const auto source = OpenCheckpoint(folder_.path());
  EXPECT_EQ(source.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(source.status().message()), HasSubstr("config.json: cannot open"));
}

}  // namespace
}  // namespace ternion
