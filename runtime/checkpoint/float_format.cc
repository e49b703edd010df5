#include "runtime/checkpoint/float_format.h"

#include <algorithm>
#include <optional>

#include "kernels/status.h"
#include "runtime/checkpoint/floats.h"
#include "runtime/checkpoint/gptq_matrix.h"
#include "runtime/checkpoint/trit_groups.h"

namespace ternion {
namespace {

constexpr char kQuery[] = "model.layers.0.self_attn.q_proj";
// Their scales differ along the inputs, which were sharded.
constexpr char kOutput[] = "model.layers.0.self_attn.o_proj.weight";
constexpr char kDown[] = "model.layers.0.mlp.down_proj.weight";

ScaleType ScaleOf(DType dtype) { return dtype == DType::kF16 ? ScaleType::kFloat16 : ScaleType::kFloat32; }

// The parts of a row with a scale each, where the first layer's matrices are ternary.
std::optional<int64_t> RowScales(const TensorIndex& index) {
  int64_t parts = 1;
  for (const char* name : {kOutput, kDown}) {
    const FileTensor* weight = index.Find(name);
    if (weight == nullptr) return std::nullopt;
    const std::optional<int64_t> found = TritRowScales(*weight);
    if (!found.has_value()) return std::nullopt;
    parts = std::max(parts, *found);
  }
  return parts;
}

absl::Status CompletePlain(const TensorIndex& index, ModelConfig& config) {
  const FileTensor* weight = index.Find(absl::StrCat(kQuery, ".weight"));
  if (weight == nullptr) return absl::OkStatus();  // loading tells what is missing
  if (const std::optional<int64_t> parts = RowScales(index)) {
    config.weight_kind = WeightKind::kUniform;
    config.weight_form = WeightForm::kOnline;
    config.uniform = {2, 0, ScaleOf(weight->dtype)};
    config.row_scales = *parts;
    return absl::OkStatus();
  }
  config.dense = weight->dtype == DType::kF16 ? DenseType::kFloat16 : DenseType::kBFloat16;
  return absl::OkStatus();
}

}  // namespace

absl::Status CompleteFloatFormat(const TensorIndex& index, ModelConfig& config) {
  const FileTensor* scales = index.Find(absl::StrCat(kQuery, ".scales"));
  if (config.weight_kind == WeightKind::kDense && scales == nullptr) return CompletePlain(index, config);
  if (config.weight_kind == WeightKind::kDense) {
    const ModelShape& shape = config.shape;
    config.weight_kind = WeightKind::kUniform;
    TERNION_ASSIGN_OR_RETURN(config.uniform,
                             GptqFormat(index, kQuery, int64_t{shape.heads} * shape.head_dim, shape.hidden));
  }
  if (config.weight_kind == WeightKind::kUniform && scales != nullptr)
    config.uniform.scale = ScaleOf(scales->dtype);
  return absl::OkStatus();
}

}  // namespace ternion
