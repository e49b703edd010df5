#pragma once

#include <cstdint>
#include <memory>
#include <variant>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "kernels/backend.h"
#include "parallel/process_grid.h"
#include "parallel/sharding.h"
#include "runtime/model/config.h"

namespace ternion {

// A ternary layer's shard: y = (codes . trits^T) * (row scale * scale of the output).
struct TernaryLinear {
  PackedTernary packed;
  Buffer scale;  // float32 [1, outputs]: each original matrix's weight_scale, repeated
};

// How o_proj lies: by input where a top-K leaves zeros to skip, else by output, which reads faster when all is read.
TernaryLayout OutputLayout(const ModelConfig& config);
// How down_proj lies: by input where ReLU^2 leaves zeros.
TernaryLayout DownLayout(const ModelConfig& config);

// One layer's weights on one rank. Norm weights are float32 [1, n]; empty where the model has none.
struct LayerWeights {
  Buffer input_norm;     // [1, h]
  TernaryLinear qkv;     // kByOutput [(query_heads + 2 kv_heads) * head_dim, h]: queries, keys, values
  Buffer attn_sub_norm;  // [1, attention channels of all ranks]
  TernaryLinear o;       // OutputLayout [h, attention.size()]
  Buffer post_norm;      // [1, h]
  TernaryLinear gate;    // kByOutput [ffn.size(), h]
  TernaryLinear up;      // kByOutput [ffn.size(), h]
  Buffer ffn_sub_norm;   // [1, ffn channels of all ranks]
  TernaryLinear down;    // DownLayout [h, ffn.size()]

  // With ModelConfig::linear_norms: norms of single matrices behind input_norm and post_norm, [1, h], and the keys' and the
  // values' matrices, which qkv then lacks. Else empty.
  Buffer query_norm, key_norm, value_norm, gate_norm, up_norm;
  TernaryLinear key;    // kByOutput [kv_heads * head_dim, h]
  TernaryLinear value;  // the same
};

// A shard of a layer whose inputs stay floats: y = x . W^T + bias.
struct FloatLinear {
  std::variant<PackedUniform, DenseMatrix> matrix;
  Buffer bias;  // float32 [1, outputs]; empty where the model has none
};

// LayerWeights of a model whose activations are floats (ModelConfig::weight_kind is not kTernary).
struct FloatLayerWeights {
  Buffer input_norm;  // [1, h]
  FloatLinear qkv;    // [(query_heads + 2 kv_heads) * head_dim, h]: queries, keys, values
  FloatLinear o;      // [h, attention.size()]
  Buffer post_norm;   // [1, h]
  FloatLinear gate;   // [ffn.size(), h]
  FloatLinear up;     // [ffn.size(), h]
  FloatLinear down;   // [h, ffn.size()]
};

// What one rank holds of a model.
struct StageWeights {
  LayerShard shard;
  Range layer_range;  // the stage's layers
  // The layers, in one of these.
  std::vector<LayerWeights> layers;
  std::vector<FloatLayerWeights> float_layers;
  Buffer embedding;   // bfloat16 [vocab shard, h]; on the first stage, and on the last when tied
  Buffer final_norm;  // float32 [1, h]; last stage
  Buffer head;        // bfloat16 [vocab shard, h]; last stage, empty when tied
};

// Called with the share that is done, 0 to 1.
using LoadProgress = absl::FunctionRef<void(double done)>;

// Called whenever a part of a stage has been made (the embedding, a layer, the final norm, the head) with all that is there
// so far; may take parts out, so that they need not be in memory together. An error ends the load.
using PartTaker = absl::FunctionRef<absl::Status(StageWeights& made)>;

// Where a model's weights come from.
class WeightSource {
 public:
  virtual ~WeightSource() = default;
  virtual const ModelConfig& config() const = 0;
  // Reads only what this rank needs. Errors: kNotFound (a file or tensor), kDataLoss (malformed), kInvalidArgument
  // (shape, dtype, a matrix of zeros), kResourceExhausted; each names the file and the tensor.
  absl::StatusOr<StageWeights> Load(const ProcessGrid& grid, Backend& backend, LoadProgress progress);
  // As Load, by parts in the order of the layers; what `taker` leaves is returned.
  virtual absl::StatusOr<StageWeights> LoadParts(const ProcessGrid& grid, Backend& backend,
                                                 LoadProgress progress, PartTaker taker) = 0;
  // Sixteen hex digits that two ranks share exactly when they read the same model: config, tensor names, shapes,
  // offsets and a sample of every tensor's bytes.
  virtual std::string Digest() const = 0;
  // Which tables and plain matrices are rounded to bfloat16 as they are read, and from what, such as "lm_head (F16)"; all
  // others keep their values.
  virtual std::vector<std::string> Rounded() const { return {}; }
};

// A Hugging Face folder: config.json, model.safetensors or model.safetensors.index.json with its shards.
absl::StatusOr<std::unique_ptr<WeightSource>> OpenCheckpoint(const std::filesystem::path& folder);

// A GGUF file of a ternary model (docs/numerics.md): architectures bitnet-b1.58, bitnet-25, bitnet and llama, linear
// layers in I2_S, TQ1_0 or TQ2_0.
absl::StatusOr<std::unique_ptr<WeightSource>> OpenGguf(const std::filesystem::path& path);

// Random weights of the shape that `config_file` (a config.json) gives, the same on every rank count: weights are a
// function of layer, matrix, row and column. Trits are uniform over -1, 0, 1.
absl::StatusOr<std::unique_ptr<WeightSource>> OpenSynthetic(const std::filesystem::path& config_file);

// Bytes of packed weights, embedding, head, norms on a rank: what Load will allocate, but for padding of uniform weights. On a
// GPU some matrices are there
// twice (ByInputCopyOf).
struct WeightMemory {
  int64_t linear_bytes = 0;     // weights of linear layers, with groups' scales
  int64_t embedding_bytes = 0;  // embedding and head
  int64_t other_bytes = 0;      // norms and scales
  int64_t total() const { return linear_bytes + embedding_bytes + other_bytes; }
};
WeightMemory PredictWeightMemory(const ModelConfig& config, const ProcessGrid& grid, bool cuda = false);

}  // namespace ternion
