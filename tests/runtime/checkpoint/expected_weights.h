#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "kernels/backend.h"
#include "runtime/model/weights.h"
#include "tests/runtime/checkpoint/checkpoint_writer.h"

// Compares loaded weights with a model that a test knows as plain arrays.
namespace ternion {

struct ExpectedWeights {
  std::map<std::string, TestMatrix> matrices;           // by name without ".weight", like all of these
  std::map<std::string, float> scales;                  // of the matrices; what multiplies
  std::map<std::string, std::vector<float>> vectors;    // norms
  std::map<std::string, std::vector<uint16_t>> tables;  // bfloat16 bits [vocab, h]
};

template <typename T>
std::vector<T> CopyOut(Backend& backend, const Buffer& buffer) {
  std::vector<T> values(buffer.bytes() / sizeof(T));
  if (!values.empty()) backend.CopyToHost(values.data(), buffer.data(), values.size() * sizeof(T));
  backend.Synchronize();
  return values;
}

// codes . W^T on the backend.                                 codes [tokens, inputs] -> [tokens, outputs]
inline std::vector<int32_t> Multiply(Backend& backend, const PackedTernary& w,
                                     const std::vector<int8_t>& codes) {
  const int64_t tokens = static_cast<int64_t>(codes.size()) / w.inputs;
  Buffer in = *backend.Allocate(codes.size());
  Buffer out = *backend.Allocate(static_cast<size_t>(tokens * w.outputs) * sizeof(int32_t));
  backend.CopyFromHost(in.data(), codes.data(), codes.size());
  backend.TernaryMatmul(w, in.As<int8_t>(tokens, w.inputs), out.As<int32_t>(tokens, w.outputs));
  return CopyOut<int32_t>(backend, out);
}

// The identity gives back every trit; of wide matrices a few random rows do, in less time.
inline std::vector<int8_t> ProbeCodes(int64_t inputs) {
  constexpr int64_t kMostUnitVectors = 256;
  const int64_t tokens = inputs <= kMostUnitVectors ? inputs : 4;
  std::vector<int8_t> codes(static_cast<size_t>(tokens * inputs));
  std::mt19937 random(11);
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t i = 0; i < inputs; ++i) {
      codes[static_cast<size_t>(t * inputs + i)] =
          static_cast<int8_t>(tokens == inputs ? t == i : static_cast<int>(random() % 255) - 127);
    }
  }
  return codes;
}

// The rows and columns of a matrix that a rank should hold.
inline TestMatrix Part(const TestMatrix& matrix, Range rows, Range columns) {
  TestMatrix part = {rows.size(), columns.size(), {}};
  for (int64_t o = rows.begin; o < rows.end; ++o) {
    for (int64_t i = columns.begin; i < columns.end; ++i) part.trits.push_back(matrix.at(o, i));
  }
  return part;
}

inline void ExpectMatrix(Backend& backend, const TernaryLinear& linear, const TestMatrix& expected,
                         const std::vector<float>& scales, const std::string& name) {
  ASSERT_EQ(linear.packed.outputs, expected.outputs) << name;
  ASSERT_EQ(linear.packed.inputs, expected.inputs) << name;
  const std::vector<int8_t> codes = ProbeCodes(expected.inputs);
  const std::vector<int32_t> got = Multiply(backend, linear.packed, codes);
  std::vector<int32_t> want;
  for (auto row = codes.begin(); row != codes.end(); row += expected.inputs) {
    for (int64_t o = 0; o < expected.outputs; ++o) {
      int32_t sum = 0;
      for (int64_t i = 0; i < expected.inputs; ++i) sum += row[i] * expected.at(o, i);
      want.push_back(sum);
    }
  }
  EXPECT_TRUE(got == want) << name << ": other weights";
  EXPECT_EQ(CopyOut<float>(backend, linear.scale), scales) << name;
}

// Everything that the rank at `grid` should hold, and no more.
inline void ExpectStage(Backend& backend, const ModelConfig& config, const ProcessGrid& grid,
                        const StageWeights& stage, const ExpectedWeights& expected) {
  const LayerShard shard = ShardLayer(config.shape, grid.tp, grid.tp_rank());
  const int64_t h = config.shape.hidden;
  const int64_t dim = config.shape.head_dim;
  const Range kv = {shard.heads.kv_begin * dim, (shard.heads.kv_begin + shard.heads.kv_heads) * dim};
  const auto expect_vector = [&](const Buffer& buffer, const std::string& name, Range part) {
    const std::vector<float>& whole = expected.vectors.at(name);
    EXPECT_EQ(CopyOut<float>(backend, buffer),
              std::vector<float>(whole.begin() + part.begin, whole.begin() + part.end))
        << name;
  };
  const auto expect_matrix = [&](const TernaryLinear& linear, const std::string& name, Range rows,
                                 Range columns) {
    ExpectMatrix(backend, linear, Part(expected.matrices.at(name), rows, columns),
                 std::vector<float>(rows.size(), expected.scales.at(name)), name);
  };
  const auto expect_table = [&](const Buffer& buffer, const std::string& name, bool here) {
    const std::vector<uint16_t>& whole = expected.tables.at(name);
    const Range rows = here ? shard.vocab : Range{};
    EXPECT_TRUE(CopyOut<uint16_t>(backend, buffer) ==
                std::vector<uint16_t>(whole.begin() + rows.begin * h, whole.begin() + rows.end * h))
        << name;
  };

  EXPECT_EQ(stage.layer_range, StageLayers(config.shape.layers, grid.pp, grid.stage()));
  ASSERT_EQ(static_cast<int64_t>(stage.layers.size()), stage.layer_range.size());
  for (size_t i = 0; i < stage.layers.size(); ++i) {
    const LayerWeights& layer = stage.layers[i];
    const std::string p = TinyModel::Prefix(static_cast<int>(stage.layer_range.begin) + static_cast<int>(i));
    TestMatrix qkv = {0, h, {}};
    std::vector<float> scales;
    for (const auto& [name, rows] : {std::pair{"q_proj", shard.attention}, {"k_proj", kv}, {"v_proj", kv}}) {
      const TestMatrix part = Part(expected.matrices.at(p + "self_attn." + name), rows, {0, h});
      qkv.outputs += part.outputs;
      qkv.trits.insert(qkv.trits.end(), part.trits.begin(), part.trits.end());
      scales.insert(scales.end(), static_cast<size_t>(rows.size()),
                    expected.scales.at(p + "self_attn." + name));
    }
    ExpectMatrix(backend, layer.qkv, qkv, scales, p + "qkv");
    expect_matrix(layer.o, p + "self_attn.o_proj", {0, h}, shard.attention);
    expect_matrix(layer.gate, p + "mlp.gate_proj", shard.ffn, {0, h});
    expect_matrix(layer.up, p + "mlp.up_proj", shard.ffn, {0, h});
    expect_matrix(layer.down, p + "mlp.down_proj", {0, h}, shard.ffn);
    expect_vector(layer.input_norm, p + "input_layernorm", {0, h});
    expect_vector(layer.post_norm, p + "post_attention_layernorm", {0, h});
    EXPECT_EQ(layer.attn_sub_norm.empty(), !config.sub_norms);
    EXPECT_EQ(layer.ffn_sub_norm.empty(), !config.sub_norms);
    if (config.sub_norms) {
      expect_vector(layer.attn_sub_norm, p + "self_attn.attn_sub_norm", shard.attention);
      expect_vector(layer.ffn_sub_norm, p + "mlp.ffn_sub_norm", shard.ffn);
    }
  }
  const bool tied = config.tied_embeddings;
  expect_table(stage.embedding, "model.embed_tokens", grid.first_stage() || (grid.last_stage() && tied));
  expect_table(stage.head, tied ? "model.embed_tokens" : "lm_head", grid.last_stage() && !tied);
  EXPECT_EQ(stage.final_norm.empty(), !grid.last_stage());
  if (grid.last_stage()) expect_vector(stage.final_norm, "model.norm", {0, h});
}

// Loads every rank of every grid and compares it.
inline void ExpectAllShards(WeightSource& source, const ExpectedWeights& expected,
                            const std::vector<int>& tps, const std::vector<int>& pps) {
  const std::unique_ptr<Backend> backend = MakeCpuBackend(2);
  for (const int tp : tps) {
    for (const int pp : pps) {
      for (int rank = 0; rank < tp * pp; ++rank) {
        const ProcessGrid grid = {.tp = tp, .pp = pp, .rank = rank};
        const auto stage = source.Load(grid, *backend, [](double) {});
        ASSERT_TRUE(stage.ok()) << stage.status();
        SCOPED_TRACE("tp " + std::to_string(tp) + " pp " + std::to_string(pp) + " rank " +
                     std::to_string(rank));
        ExpectStage(*backend, source.config(), grid, *stage, expected);
      }
    }
  }
}

}  // namespace ternion
