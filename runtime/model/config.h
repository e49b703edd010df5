#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/float_linear.h"
#include "parallel/sharding.h"
#include "runtime/model/architecture.h"
#include "runtime/model/rope.h"

namespace ternion {

class JsonFields;

enum class Activation : uint8_t { kRelu2, kSilu };
// How the inputs of column-parallel layers are quantized (docs/numerics.md).
enum class InputQuantization : uint8_t { kInt8, kInt4 };
// What a file's weight_scale does: a48/b1.58 "autobitlinear" stores mean|W| (multiply), "bitlinear" its inverse.
enum class WeightScale : uint8_t { kMultiply, kDivide };
// kOffline: packed ternary weights with a scale. kOnline: bf16/f16/f32 weights, quantized when they are loaded.
enum class WeightForm : uint8_t { kOffline, kOnline };
// What a file's qzeros hold: the zero point (GPTQ version 2), or one less (version 1).
enum class ZeroPoint : uint8_t { kAsStored, kMinusOne };
// What linear layers multiply: trits and quantized inputs, or uniformly quantized or plain weights and float inputs.
enum class WeightKind : uint8_t { kTernary, kUniform, kDense };

// A model's architecture, from config.json (Hugging Face's names, docs/numerics.md for ours).
struct ModelConfig {
  ModelShape shape;
  const Architecture* architecture = nullptr;  // never null in one that was read
  Activation activation = Activation::kRelu2;
  InputQuantization input = InputQuantization::kInt8;
  double attention_topk = 1.0;  // share of o_proj's inputs that is kept; 1: all
  bool tied_embeddings = true;  // the head is the embedding
  WeightScale weight_scale = WeightScale::kMultiply;
  WeightForm weight_form = WeightForm::kOffline;
  // A norm of its own before the quantizer of every linear layer; those of o_proj and down_proj are the sub-norms.
  bool linear_norms = false;
  float sub_norm_eps = 1e-5f;  // of the sub-norms and linear_norms
  WeightKind weight_kind = WeightKind::kTernary;
  UniformFormat uniform;  // kUniform; a group of 0: `row_scales` scales for each output's row
  int64_t row_scales = 1;
  ZeroPoint zero_point = ZeroPoint::kAsStored;
  DenseType dense = DenseType::kBFloat16;  // kDense
  float rms_norm_eps = 1e-5f;
  RopeConfig rope;
  int64_t max_positions = 0;
  std::vector<int32_t> bos_ids;
  std::vector<int32_t> eos_ids;
  std::string text;  // the file's content, for the digest that ranks compare

  // Norms of whole rows before o_proj and down_proj.
  bool sub_norms() const { return linear_norms || !architecture->attn_sub_norm.empty(); }
  // Activations stay floats (FloatLayer).
  bool floats() const { return weight_kind != WeightKind::kTernary; }
};

// Errors name the file and the field, and what would be right: kNotFound, kInvalidArgument.
absl::StatusOr<ModelConfig> ReadModelConfig(const std::filesystem::path& file);
// From the text of a config.json; `where` names it in errors.
absl::StatusOr<ModelConfig> ParseModelConfig(std::string_view text, std::string_view where);
// From the fields of a config.json; `text` stays empty.
absl::StatusOr<ModelConfig> ModelConfigOf(const JsonFields& fields);

}  // namespace ternion
