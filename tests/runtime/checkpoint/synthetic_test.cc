#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <set>

#include "runtime/model/weights.h"
#include "tests/runtime/checkpoint/checkpoint_writer.h"
#include "tests/runtime/checkpoint/expected_weights.h"
#include "tests/support/temp_folder.h"

namespace ternion {
namespace {

// Heads of 24 channels put the borders of shards inside the generator's groups of 32 columns.
nlohmann::json SmallConfig() {
  nlohmann::json config = TinyModel::Config();
  config["hidden_size"] = 256;
  config["head_dim"] = 24;
  config["intermediate_size"] = 192;
  config["vocab_size"] = 1000;
  return config;
}

class SyntheticTest : public ::testing::Test {
 protected:
  std::unique_ptr<WeightSource> Open(const nlohmann::json& config) {
    auto source = OpenSynthetic(folder_.Write("shape.json", config.dump()));
    EXPECT_TRUE(source.ok()) << source.status();
    return *std::move(source);
  }

  TestMatrix Unpack(const PackedTernary& w) {
    std::vector<int8_t> identity(static_cast<size_t>(w.inputs * w.inputs));
    for (int64_t i = 0; i < w.inputs; ++i) identity[static_cast<size_t>(i * w.inputs + i)] = 1;
    const std::vector<int32_t> columns = Multiply(*backend_, w, identity);  // [inputs, outputs]
    TestMatrix matrix = {w.outputs, w.inputs, {}};
    for (int64_t o = 0; o < w.outputs; ++o) {
      for (int64_t i = 0; i < w.inputs; ++i) {
        matrix.trits.push_back(columns[static_cast<size_t>(i * w.outputs + o)]);
      }
    }
    return matrix;
  }

  void Note(const std::string& name, const TernaryLinear& linear, Range rows, ExpectedWeights& expected) {
    const TestMatrix whole = Unpack(linear.packed);
    expected.matrices[name] = Part(whole, rows, {0, whole.inputs});
    expected.scales[name] = CopyOut<float>(*backend_, linear.scale)[static_cast<size_t>(rows.begin)];
  }

  // The whole model, as one rank loads it.
  ExpectedWeights Whole(WeightSource& source) {
    const StageWeights stage = *source.Load({}, *backend_, [](double) {});
    const ModelShape& shape = source.config().shape;
    const int64_t q = int64_t{shape.heads} * shape.head_dim;
    const int64_t kv = int64_t{shape.kv_heads} * shape.head_dim;
    ExpectedWeights expected;
    for (int i = 0; i < shape.layers; ++i) {
      const LayerWeights& layer = stage.layers[static_cast<size_t>(i)];
      const std::string p = TinyModel::Prefix(i);
      Note(p + "self_attn.q_proj", layer.qkv, {0, q}, expected);
      Note(p + "self_attn.k_proj", layer.qkv, {q, q + kv}, expected);
      Note(p + "self_attn.v_proj", layer.qkv, {q + kv, q + 2 * kv}, expected);
      Note(p + "self_attn.o_proj", layer.o, {0, shape.hidden}, expected);
      Note(p + "mlp.gate_proj", layer.gate, {0, shape.ffn}, expected);
      Note(p + "mlp.up_proj", layer.up, {0, shape.ffn}, expected);
      Note(p + "mlp.down_proj", layer.down, {0, shape.hidden}, expected);
      expected.vectors[p + "input_layernorm"].assign(shape.hidden, 1.0f);
      expected.vectors[p + "post_attention_layernorm"].assign(shape.hidden, 1.0f);
      expected.vectors[p + "self_attn.attn_sub_norm"].assign(q, 1.0f);
      expected.vectors[p + "mlp.ffn_sub_norm"].assign(shape.ffn, 1.0f);
    }
    expected.vectors["model.norm"].assign(shape.hidden, 1.0f);
    expected.tables["model.embed_tokens"] = CopyOut<uint16_t>(*backend_, stage.embedding);
    expected.tables["lm_head"] = CopyOut<uint16_t>(*backend_, stage.head);
    return expected;
  }

  const TempFolder folder_;
  const std::unique_ptr<Backend> backend_ = MakeCpuBackend(2);
};

TEST_F(SyntheticTest, WeightsDoNotDependOnTheRanks) {
  for (const bool tied : {true, false}) {
    nlohmann::json config = SmallConfig();
    config["tie_word_embeddings"] = tied;
    const auto source = Open(config);
    ExpectAllShards(*source, Whole(*source), {1, 2, 4}, {1, 2});
  }
}

TEST_F(SyntheticTest, TritsAreUniformAndUncorrelated) {
  const auto source = Open(SmallConfig());
  const ExpectedWeights whole = Whole(*source);
  std::array<double, 3> counts = {};
  double total = 0;
  std::set<std::vector<int>> different;
  for (const auto& [name, matrix] : whole.matrices) {
    double neighbours = 0;
    for (size_t i = 0; i < matrix.trits.size(); ++i) {
      ++counts[static_cast<size_t>(matrix.trits[i] + 1)];
      if (i > 0) neighbours += matrix.trits[i] * matrix.trits[i - 1];
    }
    const auto n = static_cast<double>(matrix.trits.size());
    total += n;
    different.insert(matrix.trits);
    EXPECT_LT(std::fabs(neighbours), 6 * std::sqrt(n * 4 / 9)) << name;
    for (int64_t column = 0; column < matrix.inputs; ++column) {
      double sum = 0;
      for (int64_t o = 0; o < matrix.outputs; ++o) sum += matrix.at(o, column);
      EXPECT_LT(std::fabs(sum), 6 * std::sqrt(static_cast<double>(matrix.outputs) * 2 / 3))
          << name << " " << column;
    }
  }
  for (const double count : counts) EXPECT_LT(std::fabs(count - total / 3), 6 * std::sqrt(total * 2 / 9));
  EXPECT_EQ(different.size(), whole.matrices.size());
}

TEST_F(SyntheticTest, OutputsOfANormedInputHaveVarianceOne) {
  const auto source = Open(SmallConfig());
  const StageWeights stage = *source->Load({}, *backend_, [](double) {});
  const TernaryLinear& gate = stage.layers[0].gate;
  std::vector<int8_t> ones(256);
  for (size_t i = 0; i < ones.size(); ++i) ones[i] = i % 3 == 0 ? -1 : 1;
  const float scale = CopyOut<float>(*backend_, gate.scale)[0];
  double squares = 0;
  for (const int32_t sum : Multiply(*backend_, gate.packed, ones)) squares += std::pow(scale * sum, 2);
  EXPECT_NEAR(squares / static_cast<double>(gate.packed.outputs), 1.0, 0.4);
}

TEST_F(SyntheticTest, TheDigestFollowsTheConfig) {
  const std::string digest = Open(SmallConfig())->Digest();
  EXPECT_THAT(digest, ::testing::MatchesRegex("[0-9a-f]{16}"));
  EXPECT_EQ(digest, Open(SmallConfig())->Digest());
  EXPECT_NE(digest, Open(TinyModel::Config())->Digest());
}

TEST_F(SyntheticTest, NamesAMissingConfig) {
  const auto source = OpenSynthetic(folder_.path() / "none.json");
  EXPECT_EQ(source.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(source.status().message()), ::testing::HasSubstr("none.json"));
}

}  // namespace
}  // namespace ternion
