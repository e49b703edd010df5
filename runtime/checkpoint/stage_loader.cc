#include "runtime/checkpoint/stage_loader.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "kernels/status.h"
#include "runtime/checkpoint/float_loader.h"
#include "runtime/checkpoint/linear_loader.h"

namespace ternion {
namespace {

constexpr int64_t kTableChunk = 1 << 20;  // elements of a table that pass through host memory at a time

class StageLoader {
 public:
  StageLoader(ModelTensors& tensors, const ModelConfig& config, const ProcessGrid& grid, Backend& backend,
              LoadProgress progress, PartTaker taker)
      : tensors_(tensors),
        config_(config),
        shape_(config.shape),
        grid_(grid),
        backend_(backend),
        progress_(progress),
        taker_(taker) {
    const WeightMemory memory = PredictWeightMemory(config, grid);
    total_bytes_ = std::max<int64_t>(1, memory.linear_bytes + memory.embedding_bytes);
    weights_.shard = ShardLayer(shape_, grid.tp, grid.tp_rank());
    weights_.layer_range = StageLayers(shape_, grid.pp, grid.stage());
  }

  absl::StatusOr<StageWeights> Load() {
    const bool last = grid_.last_stage();
    if (grid_.first_stage() || (last && config_.tied_embeddings)) {
      TERNION_ASSIGN_OR_RETURN(weights_.embedding, LoadTable("model.embed_tokens"));
      TERNION_RETURN_IF_ERROR(taker_(weights_));
    }
    for (int64_t layer = weights_.layer_range.begin; layer < weights_.layer_range.end; ++layer) {
      TERNION_RETURN_IF_ERROR(LoadLayer(absl::StrCat("model.layers.", layer, ".")));
      TERNION_RETURN_IF_ERROR(taker_(weights_));
    }
    if (last) {
      TERNION_ASSIGN_OR_RETURN(weights_.final_norm, LoadNorm("model.norm", shape_.hidden));
      TERNION_RETURN_IF_ERROR(taker_(weights_));
    }
    if (last && !config_.tied_embeddings) {
      TERNION_ASSIGN_OR_RETURN(weights_.head, LoadTable("lm_head"));
      TERNION_RETURN_IF_ERROR(taker_(weights_));
    }
    return std::move(weights_);
  }

 private:
  // This rank's shares of a layer's matrices.
  struct Shares {
    MatrixShare query, key, value, output, gate, up, down;
  };

  Shares SharesOf(const std::string& prefix) const {
    const HeadShard& heads = weights_.shard.heads;
    const std::string self = prefix + "self_attn.", mlp = prefix + "mlp.";
    const int64_t h = shape_.hidden, ffn = shape_.ffn;
    const int64_t width = int64_t{shape_.heads} * heads.head_dim;
    const int64_t kv_width = int64_t{shape_.kv_heads} * heads.head_dim;
    const Range queries = weights_.shard.attention, mine = weights_.shard.ffn;
    const Range kv = {int64_t{heads.kv_begin} * heads.head_dim,
                      int64_t{heads.kv_begin + heads.kv_heads} * heads.head_dim};
    return {{self + "q_proj", width, h, queries, {0, h}}, {self + "k_proj", kv_width, h, kv, {0, h}},
            {self + "v_proj", kv_width, h, kv, {0, h}},   {self + "o_proj", h, width, {0, h}, queries},
            {mlp + "gate_proj", ffn, h, mine, {0, h}},    {mlp + "up_proj", ffn, h, mine, {0, h}},
            {mlp + "down_proj", h, ffn, {0, h}, mine}};
  }

  absl::Status LoadLayer(const std::string& prefix) {
    const Shares shares = SharesOf(prefix);
    if (config_.floats()) return LoadFloatLayer(prefix, shares);
    LayerWeights layer;
    TERNION_RETURN_IF_ERROR(LoadAttention(prefix, shares, layer));
    TERNION_RETURN_IF_ERROR(LoadFfn(prefix, shares, layer));
    if (config_.linear_norms) TERNION_RETURN_IF_ERROR(LoadLinearNorms(prefix, layer));
    weights_.layers.push_back(std::move(layer));
    return absl::OkStatus();
  }

  absl::Status LoadAttention(const std::string& prefix, const Shares& shares, LayerWeights& layer) {
    constexpr TernaryLayout kByOutput = TernaryLayout::kByOutput;
    TERNION_ASSIGN_OR_RETURN(layer.input_norm, LoadNorm(prefix + "input_layernorm", shape_.hidden));
    if (config_.linear_norms) {
      TERNION_ASSIGN_OR_RETURN(layer.qkv, LoadMatrices(kByOutput, {shares.query}));
      TERNION_ASSIGN_OR_RETURN(layer.key, LoadMatrices(kByOutput, {shares.key}));
      TERNION_ASSIGN_OR_RETURN(layer.value, LoadMatrices(kByOutput, {shares.value}));
    } else {
      TERNION_ASSIGN_OR_RETURN(layer.qkv, LoadMatrices(kByOutput, {shares.query, shares.key, shares.value}));
    }
    if (config_.sub_norms()) {
      TERNION_ASSIGN_OR_RETURN(layer.attn_sub_norm,
                               LoadNorm(prefix + "self_attn.attn_sub_norm", shares.output.inputs));
    }
    TERNION_ASSIGN_OR_RETURN(layer.o, LoadMatrices(OutputLayout(config_), {shares.output}));
    return absl::OkStatus();
  }

  absl::Status LoadFfn(const std::string& prefix, const Shares& shares, LayerWeights& layer) {
    TERNION_ASSIGN_OR_RETURN(layer.post_norm, LoadNorm(prefix + "post_attention_layernorm", shape_.hidden));
    TERNION_ASSIGN_OR_RETURN(layer.gate, LoadMatrices(TernaryLayout::kByOutput, {shares.gate}));
    TERNION_ASSIGN_OR_RETURN(layer.up, LoadMatrices(TernaryLayout::kByOutput, {shares.up}));
    if (config_.sub_norms()) {
      TERNION_ASSIGN_OR_RETURN(layer.ffn_sub_norm, LoadNorm(prefix + "mlp.ffn_sub_norm", shape_.ffn));
    }
    TERNION_ASSIGN_OR_RETURN(layer.down, LoadMatrices(DownLayout(config_), {shares.down}));
    return absl::OkStatus();
  }

  absl::Status LoadLinearNorms(const std::string& prefix, LayerWeights& layer) {
    const std::pair<Buffer*, const char*> norms[] = {{&layer.query_norm, "self_attn.q_proj"},
                                                     {&layer.key_norm, "self_attn.k_proj"},
                                                     {&layer.value_norm, "self_attn.v_proj"},
                                                     {&layer.gate_norm, "mlp.gate_proj"},
                                                     {&layer.up_norm, "mlp.up_proj"}};
    for (const auto& [norm, matrix] : norms) {
      TERNION_ASSIGN_OR_RETURN(*norm, LoadNorm(absl::StrCat(prefix, matrix, ".rms_norm"), shape_.hidden));
    }
    return absl::OkStatus();
  }

  absl::Status LoadFloatLayer(const std::string& prefix, const Shares& shares) {
    FloatLayerWeights layer;
    TERNION_ASSIGN_OR_RETURN(layer.input_norm, LoadNorm(prefix + "input_layernorm", shape_.hidden));
    TERNION_ASSIGN_OR_RETURN(
        layer.qkv, LoadFloats({shares.query, shares.key, shares.value}, config_.architecture->qkv_bias));
    TERNION_ASSIGN_OR_RETURN(layer.o, LoadFloats({shares.output}));
    TERNION_ASSIGN_OR_RETURN(layer.post_norm, LoadNorm(prefix + "post_attention_layernorm", shape_.hidden));
    TERNION_ASSIGN_OR_RETURN(layer.gate, LoadFloats({shares.gate}));
    TERNION_ASSIGN_OR_RETURN(layer.up, LoadFloats({shares.up}));
    TERNION_ASSIGN_OR_RETURN(layer.down, LoadFloats({shares.down}));
    weights_.float_layers.push_back(std::move(layer));
    return absl::OkStatus();
  }

  absl::StatusOr<FloatLinear> LoadFloats(const std::vector<MatrixShare>& shares, bool bias = false) {
    TERNION_ASSIGN_OR_RETURN(FloatLinear linear, LoadFloatLinear(tensors_, config_, backend_, shares, bias));
    for (const MatrixShare& share : shares) {
      Report(FloatLinearBytes(config_, share.rows.size(), share.inputs, share.columns));
    }
    return linear;
  }

  absl::StatusOr<TernaryLinear> LoadMatrices(TernaryLayout layout, const std::vector<MatrixShare>& shares) {
    TERNION_ASSIGN_OR_RETURN(TernaryLinear linear, LoadLinear(tensors_, backend_, layout, shares));
    Report(linear.packed.outputs * linear.packed.inputs / 4);
    return linear;
  }

  // The weights of a norm of n channels.
  absl::StatusOr<Buffer> LoadNorm(const std::string& name, int64_t n) {
    TERNION_RETURN_IF_ERROR(
        tensors_.Vector(name, n, {}, {}));  // of that shape, before memory is taken for it
    std::vector<float> values(static_cast<size_t>(n));
    TERNION_RETURN_IF_ERROR(tensors_.Vector(name, n, {0, n}, absl::MakeSpan(values)));
    return Upload(backend_, values);
  }

  // The rank's rows of a table [vocab, h]; a rank may own none.
  absl::StatusOr<Buffer> LoadTable(const std::string& name) {
    const Range mine = weights_.shard.vocab;
    const int64_t h = shape_.hidden;
    if (mine.size() == 0) return Buffer();
    TERNION_RETURN_IF_ERROR(tensors_.Table(name, shape_.vocab, h, {}, {}));
    TERNION_ASSIGN_OR_RETURN(Buffer table,
                             backend_.Allocate(static_cast<size_t>(mine.size() * h) * sizeof(BFloat16)));
    const TensorView<BFloat16> rows = table.As<BFloat16>(mine.size(), h);
    const int64_t chunk_rows = std::max<int64_t>(1, kTableChunk / h);
    std::vector<BFloat16> chunk(
        static_cast<size_t>(std::min(chunk_rows, mine.size()) * h));  // [chunk_rows, h]
    for (int64_t done = 0; done < mine.size(); done += chunk_rows) {
      const Range part = {mine.begin + done, std::min(mine.begin + done + chunk_rows, mine.end)};
      const absl::Span<BFloat16> values(chunk.data(), static_cast<size_t>(part.size() * h));
      TERNION_RETURN_IF_ERROR(tensors_.Table(name, shape_.vocab, h, part, values));
      backend_.CopyFromHost(rows.row(done), values.data(), values.size() * sizeof(BFloat16));
      backend_.Synchronize();
      Report(static_cast<int64_t>(values.size() * sizeof(BFloat16)));
    }
    return table;
  }

  void Report(int64_t bytes) {
    done_bytes_ += bytes;
    progress_(std::min(1.0, static_cast<double>(done_bytes_) / static_cast<double>(total_bytes_)));
  }

  ModelTensors& tensors_;
  const ModelConfig& config_;
  const ModelShape& shape_;
  const ProcessGrid& grid_;
  Backend& backend_;
  LoadProgress progress_;
  PartTaker taker_;
  int64_t total_bytes_ = 0;
  int64_t done_bytes_ = 0;
  StageWeights weights_;
};

}  // namespace

absl::StatusOr<StageWeights> LoadStage(ModelTensors& tensors, const ModelConfig& config,
                                       const ProcessGrid& grid, Backend& backend, LoadProgress progress,
                                       PartTaker taker) {
  TERNION_RETURN_IF_ERROR(CheckSharding(config.shape, grid.tp, grid.pp));
  return StageLoader(tensors, config, grid, backend, progress, taker).Load();
}

}  // namespace ternion
