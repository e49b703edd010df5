#include <cmath>
#include <cstring>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "kernels/status.h"
#include "runtime/checkpoint/digest.h"
#include "runtime/checkpoint/float_format.h"
#include "runtime/checkpoint/floats.h"
#include "runtime/checkpoint/gptq_matrix.h"
#include "runtime/checkpoint/stage_loader.h"
#include "runtime/checkpoint/tensor_index.h"
#include "runtime/checkpoint/ternary_readers.h"
#include "runtime/checkpoint/trit_groups.h"
#include "runtime/model/weights.h"

namespace ternion {
namespace {

constexpr std::string_view kAttnSubNorm = "self_attn.attn_sub_norm";
constexpr std::string_view kFfnSubNorm = "mlp.ffn_sub_norm";
// transformers' linear layers with a norm of their own.
constexpr std::string_view kAttnLinearNorm = "self_attn.o_proj.rms_norm";
constexpr std::string_view kFfnLinearNorm = "mlp.down_proj.rms_norm";

// GPTQ's programs write biases that the model does not have.
bool AllZeros(const FileTensor& tensor) {
  return absl::c_all_of(tensor.data, [](std::byte byte) { return byte == std::byte{0}; });
}

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

  absl::StatusOr<std::unique_ptr<UniformMatrix>> Uniform(const std::string& name, int64_t outputs,
                                                         int64_t inputs) override {
    if (config_.weight_form == WeightForm::kOffline)
      return OpenGptqMatrix(index_, config_, name, outputs, inputs);
    TERNION_ASSIGN_OR_RETURN(const FileTensor* weight, index_.Get(name + ".weight"));
    return OpenTritGroups(*weight, outputs, inputs);
  }

  absl::Status Dense(const std::string& name, int64_t outputs, int64_t inputs, Range rows, Range columns,
                     absl::Span<uint16_t> out) override {
    TERNION_ASSIGN_OR_RETURN(const FileTensor* tensor, Floats(name + ".weight", {outputs, inputs}));
    const bool half = config_.dense == DenseType::kFloat16;
    if (half != (tensor->dtype == DType::kF16)) {
      return absl::InvalidArgumentError(absl::StrCat(tensor->Where(), ": is ", tensor->Form(),
                                                     ", where the first layer's ", "q_proj is ",
                                                     half ? "F16" : "not F16", "; all must be alike"));
    }
    const auto width = static_cast<size_t>(columns.size());
    for (int64_t row = rows.begin; row < rows.end; ++row) {
      const absl::Span<uint16_t> to = out.subspan(static_cast<size_t>(row - rows.begin) * width, width);
      ReadHalves(*tensor, row * inputs + columns.begin, to);
    }
    const size_t row_bytes = static_cast<size_t>(inputs) * DTypeBytes(tensor->dtype);
    tensor->file->Release(tensor->data.subspan(static_cast<size_t>(rows.begin) * row_bytes,
                                               static_cast<size_t>(rows.size()) * row_bytes));
    const uint16_t exponent = half ? 0x7c00 : 0x7f80;
    const bool finite = absl::c_all_of(out, [&](uint16_t bits) { return (bits & exponent) != exponent; });
    return finite ? absl::OkStatus() : NotFinite(*tensor);
  }

  absl::Status Bias(const std::string& name, int64_t n, Range part, absl::Span<float> out) override {
    return FiniteFloats(name + ".bias", n, part, out);
  }

  absl::Status Vector(const std::string& name, int64_t n, Range part, absl::Span<float> out) override {
    return FiniteFloats(FileName(name) + ".weight", n, part, out);
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
  // The file's name of a tensor that architectures call differently.
  std::string FileName(const std::string& name) const {
    const std::pair<std::string_view, std::string_view> norms[] = {
        {kAttnSubNorm, config_.linear_norms ? kAttnLinearNorm : config_.architecture->attn_sub_norm},
        {kFfnSubNorm, config_.linear_norms ? kFfnLinearNorm : config_.architecture->ffn_sub_norm}};
    for (const auto& [ours, theirs] : norms) {
      if (absl::EndsWith(name, ToAbsl(ours))) {
        return absl::StrCat(absl::StripSuffix(name, ToAbsl(ours)), ToAbsl(theirs));
      }
    }
    return name;
  }

  absl::Status FiniteFloats(const std::string& name, int64_t n, Range part, absl::Span<float> out) {
    TERNION_ASSIGN_OR_RETURN(const FileTensor* tensor, Floats(name, {n}));
    ReadFloats(*tensor, part.begin, out);
    if (!absl::c_all_of(out, [](float value) { return std::isfinite(value); })) return NotFinite(*tensor);
    return absl::OkStatus();
  }

  // 16-bit floats as they are, others rounded to bfloat16.
  static void ReadHalves(const FileTensor& tensor, int64_t begin, absl::Span<uint16_t> out) {
    if (tensor.dtype != DType::kF16) {
      return ReadBFloat16(tensor, begin, {reinterpret_cast<BFloat16*>(out.data()), out.size()});
    }
    std::memcpy(out.data(), tensor.data.data() + begin * 2, out.size() * 2);
  }

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

// The config says which norms and biases there are; tensors that say otherwise must not be passed over.
absl::Status CheckLayer(const ModelConfig& config, const TensorIndex& index) {
  const Architecture& architecture = *config.architecture;
  std::vector<std::string_view> absent = {kAttnSubNorm, kFfnSubNorm, "self_attn.inner_attn_ln",
                                          "mlp.ffn_layernorm"};
  for (const std::string_view norm : {architecture.attn_sub_norm, architecture.ffn_sub_norm})
    std::erase(absent, norm);
  if (!config.linear_norms) absent.insert(absent.end(), {kAttnLinearNorm, kFfnLinearNorm});
  for (const std::string_view name : absent) {
    const FileTensor* tensor = index.Find(absl::StrCat("model.layers.0.", ToAbsl(name), ".weight"));
    if (tensor == nullptr) continue;
    return absl::InvalidArgumentError(absl::StrCat(
        tensor->Where(), ": is there, but by its config a model of model_type \"",
        ToAbsl(architecture.model_type), "\" has no such norm; without it, it would compute something else"));
  }
  for (const char* name : {"self_attn.q_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.down_proj"}) {
    const FileTensor* tensor = index.Find(absl::StrCat("model.layers.0.", name, ".bias"));
    const bool known = architecture.qkv_bias && absl::EndsWith(name, "q_proj");
    if (tensor == nullptr || known || AllZeros(*tensor)) continue;
    return absl::UnimplementedError(absl::StrCat(tensor->Where(),
                                                 ": this bias is not supported: model_type \"",
                                                 ToAbsl(architecture.model_type), "\" has none here"));
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
  std::vector<std::string> Rounded() const override {
    std::vector<std::string> rounded;
    const auto add = [&](const std::string& name, const std::string& tensor, DType kept) {
      const FileTensor* found = index_.Find(tensor + ".weight");
      if (found == nullptr || found->dtype == DType::kBF16 || found->dtype == kept) return;
      rounded.push_back(absl::StrCat(name, " (", ToAbsl(DTypeName(found->dtype)), ")"));
    };
    add("embed_tokens", "model.embed_tokens", DType::kBF16);
    if (!config_.tied_embeddings) add("lm_head", "lm_head", DType::kBF16);
    if (config_.weight_kind == WeightKind::kDense)
      add("all linear layers", "model.layers.0.self_attn.q_proj", DType::kF16);
    return rounded;
  }

 private:
  const ModelConfig config_;
  const TensorIndex index_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<WeightSource>> OpenCheckpoint(const std::filesystem::path& folder) {
  TERNION_ASSIGN_OR_RETURN(ModelConfig config, ReadModelConfig(folder / "config.json"));
  TERNION_ASSIGN_OR_RETURN(TensorIndex index, TensorIndex::Open(folder));
  TERNION_RETURN_IF_ERROR(CheckLayer(config, index));
  TERNION_RETURN_IF_ERROR(CompleteFloatFormat(index, config));
  return std::make_unique<HuggingFaceCheckpoint>(std::move(config), std::move(index));
}

}  // namespace ternion
