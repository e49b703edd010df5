#include "runtime/model/weights.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/support/temp_folder.h"

namespace ternion {
namespace {

ModelConfig Read(const std::string& path) {
  const auto config = ReadModelConfig(std::string(TERNION_SOURCE_DIR) + "/" + path);
  EXPECT_TRUE(config.ok()) << config.status();
  return *config;
}

int64_t Bytes(std::initializer_list<const Buffer*> buffers) {
  int64_t bytes = 0;
  for (const Buffer* buffer : buffers) bytes += static_cast<int64_t>(buffer->bytes());
  return bytes;
}

WeightMemory Measure(const StageWeights& stage) {
  WeightMemory memory;
  memory.embedding_bytes = Bytes({&stage.embedding, &stage.head});
  memory.other_bytes = Bytes({&stage.final_norm});
  for (const LayerWeights& layer : stage.layers) {
    for (const TernaryLinear* linear : {&layer.qkv, &layer.o, &layer.gate, &layer.up, &layer.down}) {
      memory.linear_bytes += linear->packed.outputs * linear->packed.inputs / 4;
      memory.other_bytes += Bytes({&linear->scale});
    }
    memory.other_bytes +=
        Bytes({&layer.input_norm, &layer.post_norm, &layer.attn_sub_norm, &layer.ffn_sub_norm});
  }
  return memory;
}

void ExpectPrediction(WeightSource& source, int tp, int pp) {
  const auto backend = MakeCpuBackend(1);
  for (int rank = 0; rank < tp * pp; ++rank) {
    const ProcessGrid grid = {.tp = tp, .pp = pp, .rank = rank};
    const auto stage = source.Load(grid, *backend, [](double) {});
    ASSERT_TRUE(stage.ok()) << stage.status();
    const WeightMemory predicted = PredictWeightMemory(source.config(), grid);
    const WeightMemory measured = Measure(*stage);
    EXPECT_EQ(predicted.linear_bytes, measured.linear_bytes);
    EXPECT_EQ(predicted.embedding_bytes, measured.embedding_bytes);
    EXPECT_EQ(predicted.other_bytes, measured.other_bytes);
    EXPECT_EQ(predicted.total(), measured.total());
  }
}

TEST(PredictWeightMemory, IsWhatTheDemoTakes) {
  const auto source = OpenCheckpoint(std::string(TERNION_SOURCE_DIR) + "/configs/demo");
  ASSERT_TRUE(source.ok()) << source.status();
  ExpectPrediction(**source, 1, 1);
  ExpectPrediction(**source, 4, 2);
}

TEST(PredictWeightMemory, IsWhatAnUntiedModelWithoutSubNormsTakes) {
  const TempFolder folder;
  auto config = nlohmann::json::parse(Read("configs/models/llama3-8b-1.58.json").text);
  config["hidden_size"] = 128;
  config["intermediate_size"] = 224;
  config["num_hidden_layers"] = 3;
  config["num_attention_heads"] = 4;
  config["num_key_value_heads"] = 1;
  config["head_dim"] = 32;
  const auto source = OpenSynthetic(folder.Write("small.json", config.dump()));
  ASSERT_TRUE(source.ok()) << source.status();
  ExpectPrediction(**source, 1, 1);
  ExpectPrediction(**source, 2, 3);
}

TEST(PredictWeightMemory, KnowsTheLargeShapes) {
  const WeightMemory two = PredictWeightMemory(Read("configs/models/bitnet-2b-4t.json"), {});
  EXPECT_NEAR(static_cast<double>(two.linear_bytes), 0.521e9, 0.001e9);
  EXPECT_EQ(two.embedding_bytes, int64_t{128256} * 2560 * 2);  // tied: once
  const ModelConfig large = Read("configs/models/bitnet-70b.json");
  const WeightMemory whole = PredictWeightMemory(large, {});
  EXPECT_NEAR(static_cast<double>(whole.linear_bytes), 17.11e9, 0.01e9);
  EXPECT_EQ(whole.embedding_bytes, int64_t{128256} * 8192 * 2 * 2);
  // A GPU holds down_proj twice, where that pays.
  const WeightMemory on_gpu = PredictWeightMemory(large, {}, /*cuda=*/true);
  EXPECT_EQ(on_gpu.total() - whole.total(), int64_t{80} * 8192 * 28672 / 4);
  EXPECT_EQ(PredictWeightMemory(Read("configs/models/bitnet-2b-4t.json"), {}, /*cuda=*/true).total(),
            two.total());
  EXPECT_EQ(PredictWeightMemory(Read("configs/models/falcon3-10b-1.58.json"), {}, /*cuda=*/true).total(),
            PredictWeightMemory(Read("configs/models/falcon3-10b-1.58.json"), {}).total());
  const WeightMemory eighth = PredictWeightMemory(large, {.tp = 8, .pp = 1, .rank = 3});
  EXPECT_EQ(eighth.linear_bytes * 8, whole.linear_bytes);
}

}  // namespace
}  // namespace ternion
