#include <cmath>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "kernels/status.h"
#include "runtime/checkpoint/digest.h"
#include "runtime/checkpoint/floats.h"
#include "runtime/checkpoint/stage_loader.h"
#include "runtime/checkpoint/tensor_index.h"
#include "runtime/checkpoint/ternary_readers.h"
#include "runtime/model/weights.h"

namespace ternion {
namespace {

absl::Status NotFinite(const FileTensor& tensor) {
  return absl::DataLossError(absl::StrCat(tensor.Where(), ": has a value that is not finite"));
}

class HuggingFaceTensors final : public ModelTensors {
 public:
  HuggingFaceTensors(const TensorIndex& index, const ModelConfig& config) : index_(index), config_(config) {}

  absl::StatusOr<std::unique_ptr<TernaryReader>> Ternary(const std::string& name, int64_t outputs,
                                                         int64_t inputs) override {
    TERNION_ASSIGN_OR_RETURN(const FileTensor* weight, index_.Get(name + ".weight"));
    if (config_.weight_form == WeightForm::kOnline) return MakeOnlineReader(*weight, outputs, inputs);
    TERNION_ASSIGN_OR_RETURN(const float scale, Scale(name + ".weight_scale"));
    return MakePackedReader(*weight, outputs, inputs, scale);
  }

  absl::Status Vector(const std::string& name, int64_t n, Range part, absl::Span<float> out) override {
    TERNION_ASSIGN_OR_RETURN(const FileTensor* tensor, Floats(name + ".weight", {n}));
    ReadFloats(*tensor, part.begin, out);
    if (!absl::c_all_of(out, [](float value) { return std::isfinite(value); })) return NotFinite(*tensor);
    return absl::OkStatus();
  }

  absl::Status Table(const std::string& name, int64_t rows, int64_t cols, Range part,
                     absl::Span<BFloat16> out) override {
    TERNION_ASSIGN_OR_RETURN(const FileTensor* tensor, Floats(name + ".weight", {rows, cols}));
    ReadBFloat16(*tensor, part.begin * cols, out);
    const size_t row_bytes = static_cast<size_t>(cols) * DTypeBytes(tensor->dtype);
    tensor->file->Release(tensor->data.subspan(static_cast<size_t>(part.begin) * row_bytes,
                                               static_cast<size_t>(part.size()) * row_bytes));
    if (!absl::c_all_of(out, IsFinite)) return NotFinite(*tensor);
    return absl::OkStatus();
  }

 private:
  absl::StatusOr<const FileTensor*> Floats(const std::string& name, const std::vector<int64_t>& shape) {
    TERNION_ASSIGN_OR_RETURN(const FileTensor* tensor, index_.Get(name));
    if (IsFloat(tensor->dtype) && tensor->shape == shape) return tensor;
    FileTensor right = *tensor;
    right.shape = shape;
    right.dtype = DType::kBF16;
    return absl::InvalidArgumentError(absl::StrCat(tensor->Where(), ": is ", tensor->Form(), "; it must be ",
                                                   right.Form(), ", or F16 or F32 of that shape"));
  }

  // Of a weight_scale what multiplies (docs/numerics.md): some files store its inverse.
  absl::StatusOr<float> Scale(const std::string& name) {
    TERNION_ASSIGN_OR_RETURN(const FileTensor* tensor, index_.Get(name));
    if (!IsFloat(tensor->dtype) || tensor->size() != 1) {
      return absl::InvalidArgumentError(
          absl::StrCat(tensor->Where(), ": is ", tensor->Form(), "; it must be one BF16, F16 or F32 number"));
    }
    float stored = 0;
    ReadFloats(*tensor, 0, {&stored, 1});
    const float scale = config_.weight_scale == WeightScale::kMultiply ? stored : 1.0f / stored;
    if (std::isfinite(stored) && std::isfinite(scale) && scale > 0) return scale;
    return absl::DataLossError(
        absl::StrCat(tensor->Where(), ": is ", stored, "; a weight_scale must be finite and positive"));
  }

  const TensorIndex& index_;
  const ModelConfig& config_;
};

// The config says whether there are sub-norms; tensors that say otherwise must not be passed over.
absl::Status CheckSubNorms(const ModelConfig& config, const TensorIndex& index) {
  if (config.sub_norms) return absl::OkStatus();
  for (const char* name : {"self_attn.attn_sub_norm", "mlp.ffn_sub_norm"}) {
    const FileTensor* tensor = index.Find(absl::StrCat("model.layers.0.", name, ".weight"));
    if (tensor == nullptr) continue;
    return absl::InvalidArgumentError(
        absl::StrCat(tensor->Where(),
                     ": is there, but model_type \"llama\" has no sub-norms; with them it is \"bitnet\""));
  }
  return absl::OkStatus();
}

class HuggingFaceCheckpoint final : public WeightSource {
 public:
  HuggingFaceCheckpoint(ModelConfig config, TensorIndex index)
      : config_(std::move(config)), index_(std::move(index)) {}

  const ModelConfig& config() const override { return config_; }
  absl::StatusOr<StageWeights> LoadParts(const ProcessGrid& grid, Backend& backend, LoadProgress progress,
                                         PartTaker taker) override {
    HuggingFaceTensors tensors(index_, config_);
    auto weights = LoadStage(tensors, config_, grid, backend, progress, taker);
    index_.ReleasePages();
    return weights;
  }
  std::string Digest() const override { return CheckpointDigest(config_, index_); }

 private:
  const ModelConfig config_;
  const TensorIndex index_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<WeightSource>> OpenCheckpoint(const std::filesystem::path& folder) {
  TERNION_ASSIGN_OR_RETURN(ModelConfig config, ReadModelConfig(folder / "config.json"));
  TERNION_ASSIGN_OR_RETURN(TensorIndex index, TensorIndex::Open(folder));
  TERNION_RETURN_IF_ERROR(CheckSubNorms(config, index));
  return std::make_unique<HuggingFaceCheckpoint>(std::move(config), std::move(index));
}

}  // namespace ternion
