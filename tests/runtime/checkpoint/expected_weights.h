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

// Compares what the rank at `grid` holds: everything that it should, and no more.
class StageComparison {
 public:
  StageComparison(Backend& backend, const ModelConfig& config, const ProcessGrid& grid,
                  const ExpectedWeights& expected)
      : backend_(backend),
        config_(config),
        grid_(grid),
        expected_(expected),
        shard_(ShardLayer(config.shape, grid.tp, grid.tp_rank())),
        hidden_{0, config.shape.hidden} {}

  void Stage(const StageWeights& stage) {
    const Range layers = StageLayers(config_.shape, grid_.pp, grid_.stage());
    EXPECT_EQ(stage.layer_range, layers);
    ASSERT_EQ(static_cast<int64_t>(stage.layers.size()), layers.size());
    for (int64_t i = 0; i < layers.size(); ++i) {
      const std::string prefix = TinyModel::Prefix(static_cast<int>(layers.begin + i));
      Attention(stage.layers[static_cast<size_t>(i)], prefix);
      Ffn(stage.layers[static_cast<size_t>(i)], prefix);
    }
    const bool tied = config_.tied_embeddings;
    Table(stage.embedding, "model.embed_tokens", grid_.first_stage() || (grid_.last_stage() && tied));
    Table(stage.head, tied ? "model.embed_tokens" : "lm_head", grid_.last_stage() && !tied);
    Vector(stage.final_norm, "model.norm", hidden_, grid_.last_stage());
  }

 private:
  void Attention(const LayerWeights& layer, const std::string& prefix) {
    const int64_t dim = config_.shape.head_dim;
    const Range kv = {shard_.heads.kv_begin * dim, (shard_.heads.kv_begin + shard_.heads.kv_heads) * dim};
    const std::string self = prefix + "self_attn.";
    TestMatrix qkv = {0, hidden_.size(), {}};
    std::vector<float> scales;
    for (const auto& [name, rows] : {std::pair{"q_proj", shard_.attention}, {"k_proj", kv}, {"v_proj", kv}}) {
      const TestMatrix part = Part(expected_.matrices.at(self + name), rows, hidden_);
      qkv.outputs += part.outputs;
      qkv.trits.insert(qkv.trits.end(), part.trits.begin(), part.trits.end());
      scales.insert(scales.end(), static_cast<size_t>(rows.size()), expected_.scales.at(self + name));
    }
    ExpectMatrix(backend_, layer.qkv, qkv, scales, self + "qkv");
    Matrix(layer.o, self + "o_proj", hidden_, shard_.attention);
    Vector(layer.input_norm, prefix + "input_layernorm", hidden_, true);
    Vector(layer.attn_sub_norm, self + "attn_sub_norm", {0, config_.shape.heads * dim}, config_.sub_norms());
  }

  void Ffn(const LayerWeights& layer, const std::string& prefix) {
    Matrix(layer.gate, prefix + "mlp.gate_proj", shard_.ffn, hidden_);
    Matrix(layer.up, prefix + "mlp.up_proj", shard_.ffn, hidden_);
    Matrix(layer.down, prefix + "mlp.down_proj", hidden_, shard_.ffn);
    Vector(layer.post_norm, prefix + "post_attention_layernorm", hidden_, true);
    Vector(layer.ffn_sub_norm, prefix + "mlp.ffn_sub_norm", {0, config_.shape.ffn}, config_.sub_norms());
  }

  void Matrix(const TernaryLinear& linear, const std::string& name, Range rows, Range columns) {
    ExpectMatrix(backend_, linear, Part(expected_.matrices.at(name), rows, columns),
                 std::vector<float>(static_cast<size_t>(rows.size()), expected_.scales.at(name)), name);
  }

  void Vector(const Buffer& buffer, const std::string& name, Range part, bool here) {
    std::vector<float> want;
    if (here) {
      const std::vector<float>& whole = expected_.vectors.at(name);
      want.assign(whole.begin() + part.begin, whole.begin() + part.end);
    }
    EXPECT_EQ(CopyOut<float>(backend_, buffer), want) << name;
  }

  void Table(const Buffer& buffer, const std::string& name, bool here) {
    const std::vector<uint16_t>& whole = expected_.tables.at(name);
    const Range rows = here ? shard_.vocab : Range{};
    const std::vector<uint16_t> want(whole.begin() + rows.begin * hidden_.size(),
                                     whole.begin() + rows.end * hidden_.size());
    EXPECT_TRUE(CopyOut<uint16_t>(backend_, buffer) == want) << name << ": other values";
  }

  Backend& backend_;
  const ModelConfig& config_;
  const ProcessGrid& grid_;
  const ExpectedWeights& expected_;
  const LayerShard shard_;
  const Range hidden_;
};

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
        StageComparison(*backend, source.config(), grid, expected).Stage(*stage);
      }
    }
  }
}

}  // namespace ternion
