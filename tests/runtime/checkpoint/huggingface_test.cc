#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <iterator>

#include "runtime/model/weights.h"
#include "tests/runtime/checkpoint/checkpoint_writer.h"
#include "tests/runtime/checkpoint/expected_weights.h"
#include "tests/support/temp_folder.h"

namespace ternion {
namespace {

using ::testing::MatchesRegex;

std::string ReadAll(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

std::vector<float> Widen(const std::vector<uint16_t>& halves) {
  std::vector<float> values;
  for (const uint16_t half : halves) {
    const uint32_t bits = uint32_t{half} << 16;
    float value;
    std::memcpy(&value, &bits, sizeof(value));
    values.push_back(value);
  }
  return values;
}

std::vector<uint16_t> Halves(const std::string& bytes) {
  std::vector<uint16_t> halves(bytes.size() / 2);
  std::memcpy(halves.data(), bytes.data(), bytes.size());
  return halves;
}

// The four groups of two bits one below the other, as docs/numerics.md says.
TestMatrix Unpack(const std::string& bytes, int64_t byte_rows, int64_t inputs) {
  TestMatrix matrix = {4 * byte_rows, inputs, {}};
  for (const int shift : {0, 2, 4, 6}) {
    for (const char byte : bytes) matrix.trits.push_back(((static_cast<uint8_t>(byte) >> shift) & 3) - 1);
  }
  return matrix;
}

// Sorts the tensors of a packed BF16 checkpoint by what they are.
ExpectedWeights Expect(const TestTensors& tensors) {
  ExpectedWeights expected;
  for (const auto& [name, tensor] : tensors) {
    const std::string base = name.substr(0, name.find(".weight"));
    if (tensor.dtype == "U8")
      expected.matrices[base] = Unpack(tensor.bytes, tensor.shape[0], tensor.shape[1]);
    if (tensor.dtype != "BF16") continue;
    if (name.find("weight_scale") != name.npos) {
      expected.scales[base] = Widen(Halves(tensor.bytes))[0];
    } else if (tensor.shape.size() == 2) {
      expected.tables[base] = Halves(tensor.bytes);
    } else {
      expected.vectors[base] = Widen(Halves(tensor.bytes));
    }
  }
  return expected;
}

TestTensors ReadPlainly(const std::filesystem::path& path) {
  const std::string file = ReadAll(path);
  uint64_t length = 0;
  std::memcpy(&length, file.data(), sizeof(length));
  const nlohmann::json header = nlohmann::json::parse(file.substr(8, length));
  TestTensors tensors;
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") continue;
    const size_t begin = entry["data_offsets"][0];
    const size_t end = entry["data_offsets"][1];
    tensors[name] = {entry["dtype"], entry["shape"], file.substr(8 + length + begin, end - begin)};
  }
  return tensors;
}

// What the tiny model should load as, with `scale` for every matrix.
ExpectedWeights ExpectTiny(const TinyModel& tiny, float scale) {
  ExpectedWeights expected = Expect(tiny.others);
  expected.matrices = tiny.matrices;
  for (const auto& [name, matrix] : tiny.matrices) expected.scales[name] = scale;
  return expected;
}

std::unique_ptr<WeightSource> Open(const std::filesystem::path& folder) {
  auto source = OpenCheckpoint(folder);
  EXPECT_TRUE(source.ok()) << source.status();
  return source.ok() ? *std::move(source) : nullptr;
}

TEST(OpenCheckpoint, LoadsTheDemoModelsOnAnyNumberOfRanks) {
  for (const char* folder : {"/configs/demo", "/tests/data/demo-b1.58"}) {
    const std::filesystem::path path = std::string(TERNION_SOURCE_DIR) + folder;
    const auto source = Open(path);
    ASSERT_NE(source, nullptr);
    ExpectAllShards(*source, Expect(ReadPlainly(path / "model.safetensors")), {1, 2, 4, 8}, {1});
  }
}

TEST(OpenCheckpoint, StagesHoldTheirLayersAndTables) {
  const TempFolder folder;
  TinyModel tiny;
  nlohmann::json config = TinyModel::Config();
  TinyModel::Write(folder, config, tiny.Packed(0.25f));
  const auto tied = Open(folder.path());
  ASSERT_NE(tied, nullptr);
  ExpectAllShards(*tied, ExpectTiny(tiny, 0.25f), {1, 2, 4}, {1, 2});

  const TempFolder untied_folder;
  config["tie_word_embeddings"] = false;
  tiny.others["lm_head.weight"] = tiny.others["model.embed_tokens.weight"];
  std::swap(tiny.others["lm_head.weight"].bytes[0], tiny.others["lm_head.weight"].bytes[2000]);
  TinyModel::Write(untied_folder, config, tiny.Packed(0.25f));
  const auto untied = Open(untied_folder.path());
  ASSERT_NE(untied, nullptr);
  ExpectAllShards(*untied, ExpectTiny(tiny, 0.25f), {1, 4}, {1, 2});
}

TEST(OpenCheckpoint, TellsWhichTablesItRounds) {
  const TempFolder folder, half_folder;
  TinyModel tiny;
  nlohmann::json config = TinyModel::Config();
  config["tie_word_embeddings"] = false;
  tiny.others["lm_head.weight"] = tiny.others["model.embed_tokens.weight"];
  TinyModel::Write(folder, config, tiny.Packed(0.25f));
  const auto exact = Open(folder.path());
  ASSERT_NE(exact, nullptr);
  EXPECT_THAT(exact->Rounded(), testing::IsEmpty());

  tiny.others["lm_head.weight"].dtype = "F16";
  TinyModel::Write(half_folder, config, tiny.Packed(0.25f));
  const auto rounded = Open(half_folder.path());
  ASSERT_NE(rounded, nullptr);
  EXPECT_THAT(rounded->Rounded(), testing::ElementsAre("lm_head (F16)"));
}

TEST(OpenCheckpoint, DividesByTheScaleOfBitlinear) {
  const TempFolder folder;
  const TinyModel tiny;
  nlohmann::json config = TinyModel::Config();
  for (const char* linear_class : {"bitlinear", ""}) {
    config["quantization_config"] = {{"quant_method", "bitnet"}};
    if (*linear_class != '\0') config["quantization_config"]["linear_class"] = linear_class;
    TinyModel::Write(folder, config, tiny.Packed(3.0f));
    const auto source = Open(folder.path());
    ASSERT_NE(source, nullptr);
    ExpectAllShards(*source, ExpectTiny(tiny, 1.0f / 3.0f), {2}, {1});
  }
}

TEST(OpenCheckpoint, LoadsAModelWithoutSubNorms) {
  const TempFolder folder;
  TinyModel tiny;
  for (int layer = 0; layer < TinyModel::kLayers; ++layer) {
    tiny.others.erase(TinyModel::Prefix(layer) + "self_attn.attn_sub_norm.weight");
    tiny.others.erase(TinyModel::Prefix(layer) + "mlp.ffn_sub_norm.weight");
  }
  nlohmann::json config = TinyModel::Config();
  config["model_type"] = "llama";
  config["hidden_act"] = "silu";
  TinyModel::Write(folder, config, tiny.Packed(0.5f));
  const auto source = Open(folder.path());
  ASSERT_NE(source, nullptr);
  ExpectAllShards(*source, ExpectTiny(tiny, 0.5f), {1, 2}, {1});
}

TEST(OpenCheckpoint, ReadsShardsThatAnIndexLists) {
  const TempFolder folder;
  const TinyModel tiny;
  TestTensors shards[2];
  nlohmann::json weight_map;
  for (const auto& [name, tensor] : tiny.Packed(0.5f)) {
    const int shard = name.find("layers.1.mlp") != name.npos ? 1 : 0;
    shards[shard][name] = tensor;
    weight_map[name] = "part-" + std::to_string(shard) + ".safetensors";
  }
  folder.Write("part-0.safetensors", SafetensorsBytes(shards[0]));
  folder.Write("part-1.safetensors", SafetensorsBytes(shards[1]));
  folder.Write("model.safetensors.index.json", nlohmann::json{{"weight_map", weight_map}}.dump());
  folder.Write("config.json", TinyModel::Config().dump());
  const auto source = Open(folder.path());
  ASSERT_NE(source, nullptr);
  ExpectAllShards(*source, ExpectTiny(tiny, 0.5f), {2}, {2});
}

// Makes float matrices of a checkpoint, and what BitNet b1.58 makes of them.
struct OnlineModel {
  explicit OnlineModel(const std::string& dtype) : expected(ExpectTiny(tiny, 0)) {
    tensors = tiny.others;
    std::mt19937 random(3);
    for (auto& [name, matrix] : expected.matrices) {
      std::vector<float> values;
      // Multiples of 1/64 are exact in every dtype, and their sums in float64.
      for (size_t i = 0; i < matrix.trits.size(); ++i) {
        values.push_back((static_cast<int>(random() % 129) - 64) / 64.0f);
      }
      if (name.ends_with("o_proj")) MakeHalves(values);
      tensors[name + ".weight"] = Stored(dtype, {matrix.outputs, matrix.inputs}, values);
      Quantize(values, matrix, expected.scales[name]);
    }
  }

  // Magnitudes 0.5 and 1.5 in turn have the mean 1, and lie half way between trits.
  static void MakeHalves(std::vector<float>& values) {
    for (size_t i = 0; i < values.size(); ++i) values[i] = std::copysign(i % 2 == 0 ? 0.5f : 1.5f, values[i]);
  }

  static TestTensor Stored(const std::string& dtype, std::vector<int64_t> shape,
                           const std::vector<float>& values) {
    if (dtype == "F32") return F32Tensor(std::move(shape), values);
    if (dtype == "BF16") return Bf16Tensor(std::move(shape), values);
    std::vector<uint16_t> halves;
    for (const float value : values) {
      const auto half = static_cast<_Float16>(value);
      uint16_t bits;
      std::memcpy(&bits, &half, sizeof(bits));
      halves.push_back(bits);
    }
    return {"F16", std::move(shape), BytesOf(halves)};
  }

  static void Quantize(const std::vector<float>& values, TestMatrix& matrix, float& scale) {
    double sum = 0;
    for (const float value : values) sum += std::fabs(value);
    scale = static_cast<float>(sum / static_cast<double>(values.size()));
    for (size_t i = 0; i < values.size(); ++i) {
      matrix.trits[i] = static_cast<int>(std::fmin(1.0f, std::fmax(-1.0f, std::rint(values[i] / scale))));
    }
  }

  TinyModel tiny;
  ExpectedWeights expected;
  TestTensors tensors;
};

TEST(OpenCheckpoint, QuantizesFloatWeightsOverTheWholeMatrix) {
  for (const char* dtype : {"BF16", "F16", "F32"}) {
    const TempFolder folder;
    const OnlineModel model(dtype);
    nlohmann::json config = TinyModel::Config();
    config["quantization_config"]["quantization_mode"] = "online";
    TinyModel::Write(folder, config, model.tensors);
    const auto source = Open(folder.path());
    ASSERT_NE(source, nullptr);
    SCOPED_TRACE(dtype);
    ExpectAllShards(*source, model.expected, {1, 2, 4}, {1});
  }
}

TEST(OpenCheckpoint, ReportsProgressFromNothingToOne) {
  const TempFolder folder;
  TinyModel::Write(folder, TinyModel::Config(), TinyModel().Packed(1));
  const auto source = Open(folder.path());
  ASSERT_NE(source, nullptr);
  const auto backend = MakeCpuBackend(1);
  double last = 0;
  int calls = 0;
  const auto stage = source->Load({.tp = 2, .pp = 2, .rank = 3}, *backend, [&](double done) {
    EXPECT_GE(done, last);
    last = done;
    ++calls;
  });
  ASSERT_TRUE(stage.ok()) << stage.status();
  EXPECT_EQ(last, 1.0);
  EXPECT_GT(calls, 5);
}

TEST(OpenCheckpoint, RefusesAGridThatTheModelCannotHave) {
  const TempFolder folder;
  TinyModel::Write(folder, TinyModel::Config(), TinyModel().Packed(1));
  const auto backend = MakeCpuBackend(1);
  const auto stage = Open(folder.path())->Load({.tp = 3, .pp = 1, .rank = 0}, *backend, [](double) {});
  EXPECT_EQ(stage.status().message(), "4 heads cannot be split over tp 3; tp 1, 2, 4 work");
}

class DigestTest : public ::testing::Test {
 protected:
  std::string DigestOf(const nlohmann::json& config, const TestTensors& tensors) {
    const TempFolder folder;
    TinyModel::Write(folder, config, tensors);
    return Open(folder.path())->Digest();
  }

  const nlohmann::json config_ = TinyModel::Config();
  const TestTensors tensors_ = TinyModel().Packed(1);
};

TEST_F(DigestTest, IsTheSameForCopiesOfAModel) {
  const std::string digest = DigestOf(config_, tensors_);
  EXPECT_THAT(digest, MatchesRegex("[0-9a-f]{16}"));
  EXPECT_EQ(digest, DigestOf(config_, tensors_));
}

TEST_F(DigestTest, ChangesWithTheConfig) {
  nlohmann::json config = config_;
  config["rms_norm_eps"] = 1e-6;
  EXPECT_NE(DigestOf(config, tensors_), DigestOf(config_, tensors_));
}

TEST_F(DigestTest, ChangesWithTheFirstAndTheLastByteOfEveryTensor) {
  const std::string digest = DigestOf(config_, tensors_);
  for (const char* name : {"model.norm.weight", "model.layers.1.mlp.down_proj.weight_scale",
                           "model.layers.0.self_attn.k_proj.weight", "model.embed_tokens.weight"}) {
    for (const bool first : {true, false}) {
      TestTensors changed = tensors_;
      std::string& bytes = changed[name].bytes;
      (first ? bytes.front() : bytes.back()) ^= 1;
      EXPECT_NE(DigestOf(config_, changed), digest) << name << " " << first;
    }
  }
}

TEST_F(DigestTest, ChangesWithTheGenerationEos) {
  const TempFolder folder;
  TinyModel::Write(folder, config_, tensors_);
  folder.Write("generation_config.json", R"({"eos_token_id": [2, 3]})");
  EXPECT_NE(Open(folder.path())->Digest(), DigestOf(config_, tensors_));
}

}  // namespace
}  // namespace ternion
