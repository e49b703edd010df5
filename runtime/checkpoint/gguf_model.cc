#include <array>
#include <cmath>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "kernels/check.h"
#include "kernels/status.h"
#include "runtime/checkpoint/digest.h"
#include "runtime/checkpoint/floats.h"
#include "runtime/checkpoint/gguf_config.h"
#include "runtime/checkpoint/gguf_ternary.h"
#include "runtime/checkpoint/stage_loader.h"
#include "runtime/model/weights.h"

namespace ternion {
namespace {

class GgufTensors final : public ModelTensors {
 public:
  GgufTensors(const GgufFile& file, const GgufConfig& model) : file_(file), model_(model) {}

  absl::StatusOr<std::unique_ptr<TernaryReader>> Ternary(const std::string& name, int64_t outputs,
                                                         int64_t inputs) override {
    TERNION_ASSIGN_OR_RETURN(const GgufTensor* tensor, Get(name));
    TERNION_ASSIGN_OR_RETURN(const float factor, Factor(name));
    TERNION_ASSIGN_OR_RETURN(auto reader, MakeGgufReader(file_, *tensor, outputs, inputs, factor));
    const bool rotated = absl::EndsWith(name, ".q_proj") || absl::EndsWith(name, ".k_proj");
    if (!rotated || !model_.architecture->interleaved_rope) return reader;
    return HalvesOfInterleaved(std::move(reader), model_.config.shape.head_dim);
  }

  // ReadGgufConfig makes models of ternary matrices alone.
  absl::StatusOr<std::unique_ptr<UniformMatrix>> Uniform(const std::string&, int64_t, int64_t) override {
    CHECK(false, "a GGUF model here has no uniformly quantized matrices");
  }
  absl::Status Dense(const std::string&, int64_t, int64_t, Range, Range, absl::Span<uint16_t>) override {
    CHECK(false, "a GGUF model here has no plain matrices");
  }
  absl::Status Bias(const std::string&, int64_t, Range, absl::Span<float>) override {
    CHECK(false, "a GGUF model here has no biases");
  }

  absl::Status Vector(const std::string& name, int64_t n, Range part, absl::Span<float> out) override {
    TERNION_ASSIGN_OR_RETURN(const GgufTensor* tensor, Floats(name, {n}));
    std::vector<float> values(static_cast<size_t>(n));
    Decode(*tensor, 0, values);
    if (!absl::c_all_of(values, [](float value) { return std::isfinite(value); })) return NotFinite(*tensor);
    std::copy_n(values.begin() + part.begin, part.size(), out.begin());
    return absl::OkStatus();
  }

  absl::Status Table(const std::string& name, int64_t rows, int64_t cols, Range part,
                     absl::Span<BFloat16> out) override {
    TERNION_ASSIGN_OR_RETURN(const GgufTensor* tensor, Floats(name, {rows, cols}));
    std::vector<float> row_values(static_cast<size_t>(cols));
    auto to = out.begin();
    for (int64_t row = part.begin; row < part.end; ++row) {
      Decode(*tensor, row, row_values);
      to = absl::c_transform(row_values, to, RoundToBFloat16);
    }
    const auto row_bytes = static_cast<size_t>(cols / tensor->type->values * tensor->type->bytes);
    file_.mapped->Release(tensor->data.subspan(static_cast<size_t>(part.begin) * row_bytes,
                                               static_cast<size_t>(part.size()) * row_bytes));
    return absl::c_all_of(out, IsFinite) ? absl::OkStatus() : NotFinite(*tensor);
  }

 private:
  absl::StatusOr<const GgufTensor*> Get(const std::string& name) const {
    const std::string theirs = absl::StrCat(GgufTensorName(name), ".weight");
    if (const GgufTensor* tensor = file_.contents.Find(theirs)) return tensor;
    return absl::NotFoundError(absl::StrCat(file_.contents.where(), ": has no tensor ", theirs));
  }

  absl::StatusOr<const GgufTensor*> Floats(const std::string& name, const std::vector<int64_t>& shape) const {
    TERNION_ASSIGN_OR_RETURN(const GgufTensor* tensor, Get(name));
    if (tensor->type->decode_floats != nullptr && tensor->shape() == absl::MakeConstSpan(shape))
      return tensor;
    return absl::InvalidArgumentError(absl::StrCat(file_.contents.Where(*tensor), ": is ", tensor->Form(),
                                                   "; it must be F32, F16, BF16, Q8_0 or ", "Q6_K [",
                                                   absl::StrJoin(shape, ", "), "]"));
  }

  // One row of as many values as `out` takes.
  static void Decode(const GgufTensor& tensor, int64_t row, std::vector<float>& out) {
    const GgmlType& type = *tensor.type;
    const int64_t row_blocks = static_cast<int64_t>(out.size()) / type.values;
    const auto* bytes = reinterpret_cast<const uint8_t*>(tensor.data.data());
    type.decode_floats(bytes + row * row_blocks * type.bytes, row_blocks, out.data());
  }

  absl::Status NotFinite(const GgufTensor& tensor) const {
    return absl::DataLossError(
        absl::StrCat(file_.contents.Where(tensor), ": has a value that is not finite"));
  }

  // Some converters keep trits without a scale and put it into a tensor beside them.
  absl::StatusOr<float> Factor(const std::string& name) const {
    const GgufTensor* tensor = file_.contents.Find(absl::StrCat(GgufTensorName(name), ".scale"));
    if (tensor == nullptr) return 1.0f;
    const bool one = absl::c_all_of(tensor->shape(), [](int64_t side) { return side == 1; });
    if (!one || tensor->type->decode_floats == nullptr) {
      return absl::InvalidArgumentError(absl::StrCat(file_.contents.Where(*tensor), ": is ", tensor->Form(),
                                                     "; it must be one F32, F16 or BF16 number"));
    }
    std::vector<float> scale(1);
    Decode(*tensor, 0, scale);
    if (std::isfinite(scale[0]) && scale[0] > 0) return scale[0];
    return absl::DataLossError(absl::StrCat(file_.contents.Where(*tensor), ": is ", scale[0],
                                            "; a scale must be finite and positive"));
  }

  const GgufFile& file_;
  const GgufConfig& model_;
};

class GgufModel final : public WeightSource {
 public:
  GgufModel(GgufFile file, GgufConfig model) : file_(std::move(file)), model_(std::move(model)) {}

  const ModelConfig& config() const override { return model_.config; }
  absl::StatusOr<StageWeights> LoadParts(const ProcessGrid& grid, Backend& backend, LoadProgress progress,
                                         PartTaker taker) override {
    GgufTensors tensors(file_, model_);
    auto weights = LoadStage(tensors, model_.config, grid, backend, progress, taker);
    file_.mapped->Release(file_.mapped->bytes());
    return weights;
  }
  std::string Digest() const override {
    std::string text = absl::StrCat(ToAbsl(model_.architecture->name), "\n", model_.config.text, "\n");
    for (const GgufTensor& tensor : file_.contents.tensors()) {
      absl::StrAppend(&text, ToAbsl(tensor.name), " ", tensor.Form(), " ",
                      tensor.data.data() - file_.mapped->bytes().data(), "\n");
      AppendSamples(tensor.data, text);
    }
    file_.mapped->Release(file_.mapped->bytes());
    return HexDigest(text);
  }
  std::vector<std::string> Rounded() const override {
    std::vector<std::string> rounded;
    for (const char* name : {"token_embd", "output"}) {
      const GgufTensor* tensor = file_.contents.Find(absl::StrCat(name, ".weight"));
      if (tensor == nullptr || tensor->type->name == "BF16") continue;
      if (model_.config.tied_embeddings && tensor->name == "output.weight") continue;
      rounded.push_back(absl::StrCat(name, " (", ToAbsl(tensor->type->name), ")"));
    }
    return rounded;
  }

 private:
  const GgufFile file_;
  const GgufConfig model_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<WeightSource>> OpenGguf(const std::filesystem::path& path) {
  TERNION_ASSIGN_OR_RETURN(GgufFile file, GgufFile::Open(path));
  TERNION_ASSIGN_OR_RETURN(GgufConfig model, ReadGgufConfig(file.contents));
  return std::make_unique<GgufModel>(std::move(file), std::move(model));
}

}  // namespace ternion
