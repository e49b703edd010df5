#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "runtime/model/weights.h"
#include "tests/runtime/checkpoint/gguf_model_writer.h"
#include "tests/support/temp_folder.h"

namespace ternion {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr char kUp[] = "blk.1.ffn_up.weight";

absl::StatusOr<std::unique_ptr<WeightSource>> Open(const GgufTestFile& file) {
  const TempFolder folder;
  return OpenGguf(folder.Write("model.gguf", file.Bytes()));
}

absl::Status Load(const GgufTestFile& file) {
  const auto source = Open(file);
  if (!source.ok()) return source.status();
  const auto backend = MakeCpuBackend(1);
  return (*source)->Load({}, *backend, [](double) {}).status();
}

void ExpectRefused(const GgufTestFile& file, absl::StatusCode code, const std::string& name,
                   const std::string& why) {
  const absl::Status status = Load(file);
  EXPECT_EQ(status.code(), code) << status;
  EXPECT_THAT(std::string(status.message()), AllOf(HasSubstr("model.gguf"), HasSubstr(name), HasSubstr(why)));
}

void ExpectLoads(const GgufTinyModel& model, const std::vector<int>& tps, const std::vector<int>& pps) {
  const auto source = Open(model.file);
  ASSERT_TRUE(source.ok()) << source.status();
  ExpectAllShards(**source, model.expected, tps, pps);
}

TEST(OpenGguf, LoadsEveryTernaryTypeOnAnyNumberOfRanks) {
  ExpectLoads(GgufTinyModel("bitnet-b1.58", kI2sType), {1, 2, 4}, {1, 2});
  ExpectLoads(GgufTinyModel("bitnet-b1.58", kTq1Type), {1, 4}, {1});
  ExpectLoads(GgufTinyModel("bitnet-b1.58", kTq2Type), {1, 4}, {1});
}

TEST(OpenGguf, PutsTheRowsOfLlamaBackIntoHalves) {
  ExpectLoads(GgufTinyModel("llama", kTq2Type), {1, 4}, {1, 2});
  ExpectLoads(GgufTinyModel("llama", kI2sType), {1}, {1});
}

TEST(OpenGguf, KnowsWhatAnArchitectureMeans) {
  const auto config = [](const GgufTestFile& file) {
    const auto source = Open(file);
    EXPECT_TRUE(source.ok()) << source.status();
    return source.ok() ? (*source)->config() : ModelConfig();
  };
  for (const char* relu2 : {"bitnet-b1.58", "bitnet-25"}) {
    EXPECT_EQ(config(GgufTinyModel(relu2, kTq1Type).file).activation, Activation::kRelu2);
  }
  GgufTinyModel bitnet("bitnet", kTq1Type);
  EXPECT_EQ(config(bitnet.file).activation, Activation::kSilu);
  EXPECT_TRUE(config(bitnet.file).sub_norms());
  bitnet.file.Key("bitnet.hidden_activation") = GgufText("relu2");
  EXPECT_EQ(config(bitnet.file).activation, Activation::kRelu2);

  const ModelConfig llama = config(GgufTinyModel("llama", kTq1Type).file);
  EXPECT_EQ(llama.activation, Activation::kSilu);
  EXPECT_FALSE(llama.sub_norms());
  EXPECT_FALSE(llama.tied_embeddings);
  EXPECT_EQ(llama.shape.hidden, 256);
  EXPECT_EQ(llama.shape.ffn, 512);
  EXPECT_EQ(llama.shape.layers, 2);
  EXPECT_EQ(llama.shape.heads, 4);
  EXPECT_EQ(llama.shape.kv_heads, 2);
  EXPECT_EQ(llama.shape.head_dim, 64);
  EXPECT_EQ(llama.shape.vocab, 300);
  EXPECT_EQ(llama.max_positions, 128);
  EXPECT_EQ(llama.rms_norm_eps, 1e-5f);
  EXPECT_EQ(llama.rope.theta, 5e5f);
  EXPECT_EQ(llama.weight_form, WeightForm::kOffline);
  EXPECT_EQ(llama.input, InputQuantization::kInt8);
}

TEST(OpenGguf, TakesTheEmbeddingForAHeadThatIsNotThere) {
  GgufTinyModel llama("llama", kI2sType);
  std::erase_if(llama.file.tensors,
                [](const GgufTestTensor& tensor) { return tensor.name == "output.weight"; });
  ExpectLoads(llama, {1, 2}, {1, 2});
}

TEST(OpenGguf, NeverLooksAtASecondHeadOfTheBitnetFamily) {
  GgufTinyModel bitnet("bitnet-25", kI2sType);
  GgufTestTensor head = bitnet.file.Tensor("token_embd.weight");
  head.name = "output.weight";
  head.data.assign(head.data.size(), '\1');
  bitnet.file.tensors.push_back(head);
  ExpectLoads(bitnet, {1}, {1});
}

TEST(OpenGguf, TellsWhichTablesItRounds) {
  GgufTinyModel llama("llama", kI2sType);
  const auto exact = Open(llama.file);
  ASSERT_TRUE(exact.ok()) << exact.status();
  EXPECT_THAT((*exact)->Rounded(), testing::IsEmpty());
  llama.file.Tensor("output.weight").type = kF16Type;
  const auto rounded = Open(llama.file);
  ASSERT_TRUE(rounded.ok()) << rounded.status();
  EXPECT_THAT((*rounded)->Rounded(), testing::ElementsAre("output (F16)"));
}

TEST(OpenGguf, WhatKeysLeaveOutHasADefault) {
  GgufTinyModel model("llama", kI2sType);
  std::erase_if(model.file.keys, [](const auto& key) {
    return key.first == "llama.vocab_size" || key.first == "llama.rope.freq_base" ||
           key.first == "llama.rope.dimension_count";
  });
  const auto source = Open(model.file);
  ASSERT_TRUE(source.ok()) << source.status();
  EXPECT_EQ((*source)->config().rope.theta, 1e4f);
  EXPECT_EQ((*source)->config().shape.vocab, 300);
  EXPECT_TRUE((*source)->config().eos_ids.empty());
}

TEST(OpenGguf, EndsAtTheEndOfATurnToo) {
  const auto eos = [](const GgufTestFile& file) {
    const auto source = Open(file);
    EXPECT_TRUE(source.ok()) << source.status();
    return source.ok() ? (*source)->config().eos_ids : std::vector<int32_t>();
  };
  GgufTinyModel model("llama", kI2sType);
  model.file.Key("tokenizer.ggml.bos_token_id") = GgufU32(1);
  model.file.Key("tokenizer.ggml.eos_token_id") = GgufU32(2);
  model.file.Key("tokenizer.ggml.tokens") = GgufTexts({"a", "b", "c", "<|eot_id|>", "d", "<|im_end|>"});
  EXPECT_EQ(eos(model.file), (std::vector<int32_t>{2, 3, 5}));
  model.file.Key("tokenizer.ggml.eos_token_id") = GgufU32(3);
  EXPECT_EQ(eos(model.file), (std::vector<int32_t>{3, 5}));
  model.file.Key("tokenizer.ggml.eot_token_id") = GgufU32(4);
  EXPECT_EQ(eos(model.file), (std::vector<int32_t>{3, 4}));
}

TEST(OpenGguf, AScaleBesideTheTritsMultiplies) {
  GgufTinyModel model("bitnet", kTq2Type);
  model.file.tensors.push_back({"blk.0.attn_q.scale", kF32Type, {1}, GgufNumber(3.0f), 0});
  model.file.tensors.push_back({"blk.1.ffn_down.scale", kF32Type, {}, GgufNumber(5.0f), 0});
  model.expected.scales["model.layers.0.self_attn.q_proj"] *= 3;
  model.expected.scales["model.layers.1.mlp.down_proj"] *= 5;
  ExpectLoads(model, {1}, {1});
}

TEST(OpenGguf, ADigestTellsModelsApart) {
  const auto digest = [](const GgufTestFile& file) { return (*Open(file))->Digest(); };
  GgufTinyModel model("bitnet", kTq2Type);
  const std::string first = digest(model.file);
  EXPECT_EQ(digest(model.file), first);
  model.file.tensors.back().data[3] ^= 1;
  EXPECT_NE(digest(model.file), first);
  model.file.tensors.back().data[3] ^= 1;
  model.file.Key("bitnet.rope.freq_base") = GgufF32(10000);
  EXPECT_NE(digest(model.file), first);
}

class BadGgufModel : public ::testing::Test {
 protected:
  GgufTestTensor& Up() { return model_.file.Tensor(kUp); }
  void ExpectBad(absl::StatusCode code, const std::string& name, const std::string& why) {
    ExpectRefused(model_.file, code, name, why);
  }

  GgufTinyModel model_{"bitnet-b1.58", kTq2Type};
};

TEST_F(BadGgufModel, IsSoundUntilSpoilt) { EXPECT_TRUE(Load(model_.file).ok()) << Load(model_.file); }

TEST_F(BadGgufModel, LinearLayersOfOtherTypesOrShapes) {
  Up().type = kQ80Type;
  Up().data.assign(512 * 256 / 32 * 34, '\1');
  ExpectBad(absl::StatusCode::kInvalidArgument, kUp,
            "is Q8_0 [512, 256]; a linear layer of this model must be I2_S, TQ1_0 or TQ2_0 [512, 256]");
  Up() = GgufTinyModel("bitnet-b1.58", kTq2Type).file.Tensor(kUp);
  std::swap(Up().sides[0], Up().sides[1]);
  ExpectBad(absl::StatusCode::kInvalidArgument, kUp,
            "is TQ2_0 [256, 512]; a linear layer of this model must be");
}

TEST_F(BadGgufModel, BlocksOfDifferentScales) {
  Up().data.replace(66 * 7 + 64, 2, HalfPowerOfTwo(2));
  ExpectBad(absl::StatusCode::kInvalidArgument, kUp, "and block 7 has 2; a BitNet matrix has one scale");
  Up().data.replace(66 * 7, 64, std::string(64, '\x55'));  // a block of zeros may have any scale
  EXPECT_TRUE(Load(model_.file).ok()) << Load(model_.file);
}

TEST_F(BadGgufModel, ScalesThatScaleNothing) {
  const std::vector<int> trits(512 * 256, 1);
  Up().type = kI2sType;
  for (const float scale : {0.0f, -0.5f, INFINITY, NAN}) {
    Up().data = EncodeI2s(trits, scale);
    ExpectBad(absl::StatusCode::kDataLoss, kUp, "must be finite and positive");
  }
  Up().type = kTq2Type;
  Up().data = EncodeTq2(trits, 1);
  for (size_t block = 0; block < 512; ++block) Up().data.replace(66 * block + 64, 2, std::string(2, '\0'));
  ExpectBad(absl::StatusCode::kDataLoss, kUp, "its scale is 0; it must be finite and positive");
}

TEST_F(BadGgufModel, MatricesOfZeros) {
  Up().data = EncodeTq2(std::vector<int>(512 * 256, 0), 1);
  ExpectBad(absl::StatusCode::kInvalidArgument, kUp, "all its weights are zero");
  Up().type = kI2sType;
  Up().data = EncodeI2s(std::vector<int>(512 * 256, 0), 1);
  ExpectBad(absl::StatusCode::kInvalidArgument, kUp, "are zero");
}

TEST_F(BadGgufModel, TheCodeThree) {
  Up().data[66 * 130 + 5] = '\x03';
  ExpectBad(absl::StatusCode::kDataLoss, kUp, "output channel 130 holds the code 3");
}

TEST_F(BadGgufModel, MissingTensors) {
  for (const char* name : {kUp, "blk.0.attn_sub_norm.weight", "token_embd.weight", "output_norm.weight"}) {
    GgufTinyModel model("bitnet-b1.58", kTq2Type);
    std::erase_if(model.file.tensors, [&](const GgufTestTensor& tensor) { return tensor.name == name; });
    ExpectRefused(model.file, absl::StatusCode::kNotFound, name, "has no tensor");
  }
}

TEST_F(BadGgufModel, TablesAndNormsOfOtherTypesOrWithStrangeValues) {
  GgufTestTensor& norm = model_.file.Tensor("output_norm.weight");
  norm.data.replace(8, 4, GgufNumber(NAN));
  ExpectBad(absl::StatusCode::kDataLoss, "output_norm.weight", "not finite");
  norm.type = 26;
  ExpectBad(absl::StatusCode::kInvalidArgument, "output_norm.weight",
            "is I32 [256]; it must be F32, F16, BF16, Q8_0 or Q6_K [256]");
  norm = GgufTinyModel("bitnet-b1.58", kTq2Type).file.Tensor("output_norm.weight");
  model_.file.Tensor("token_embd.weight").data.replace(1000, 2, "\xc0\x7f");
  ExpectBad(absl::StatusCode::kDataLoss, "token_embd.weight", "not finite");
}

TEST_F(BadGgufModel, TensorsThatItHasNoPlaceFor) {
  for (const char* name :
       {"blk.0.attn_q.bias", "rope_freqs.weight", "blk.2.attn_q.weight", "blk.00.attn_q.weight",
        "blk.0.ffn_gate_inp.weight", "blk.-1.attn_q.weight", "medusa.0.weight", "blk.0.attn_norm.scale",
        "blk.99999999999999999999.attn_q.weight", "blk.", ".weight"}) {
    GgufTinyModel model("bitnet-b1.58", kTq2Type);
    model.file.tensors.push_back({name, kF32Type, {1}, GgufNumber(1.0f), 0});
    ExpectRefused(model.file, absl::StatusCode::kUnimplemented, name, "has no such tensor here");
  }
  GgufTinyModel llama("llama", kTq2Type);
  llama.file.tensors.push_back({"blk.0.attn_sub_norm.weight", kF32Type, {256}, std::string(1024, '\0'), 0});
  ExpectRefused(llama.file, absl::StatusCode::kUnimplemented, "blk.0.attn_sub_norm.weight",
                "has no such tensor here");
}

TEST_F(BadGgufModel, ScalesBesideTheTritsThatAreNone) {
  model_.file.tensors.push_back({"blk.0.attn_q.scale", kF32Type, {2}, std::string(8, '\1'), 0});
  ExpectBad(absl::StatusCode::kInvalidArgument, "blk.0.attn_q.scale",
            "it must be one F32, F16 or BF16 number");
  model_.file.tensors.back() = {"blk.0.attn_q.scale", kF32Type, {1}, GgufNumber(-1.0f), 0};
  ExpectBad(absl::StatusCode::kDataLoss, "blk.0.attn_q.scale", "is -1; a scale must be finite and positive");
}

TEST_F(BadGgufModel, AFileThatIsMissing) {
  EXPECT_EQ(OpenGguf("/no/such/model.gguf").status().code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace ternion
