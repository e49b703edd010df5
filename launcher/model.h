#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "launcher/options.h"
#include "runtime/model/weights.h"
#include "runtime/text/tokenizer.h"

namespace ternion {

// Opens the model that the options name: a Hugging Face folder, a .gguf file or a folder that holds one and no
// config.json, a converted folder, or a synthetic one.
absl::StatusOr<std::unique_ptr<WeightSource>> OpenModel(const JobOptions& options);

// Tells which of a model's tensors are rounded as they are read, if there are any.
void LogRounding(const WeightSource& source);

// kInvalidArgument where the model is a converted folder and was made for another tp or pp than the options have.
absl::Status CheckConvertedGrid(const JobOptions& options);

// The .gguf file that MODEL means; nothing when it means a folder of another kind.
absl::StatusOr<std::optional<std::filesystem::path>> GgufOf(const std::filesystem::path& model);

// In a folder that was converted from a .gguf file: its tokenizer and chat template.
inline constexpr char kTokenizerGguf[] = "tokenizer.gguf";

// The tokenizer of a folder: its tokenizer.json, or else its tokenizer.model, or else its .gguf file's; or that of a .gguf file.
absl::StatusOr<std::unique_ptr<Tokenizer>> OpenTokenizer(const std::string& model);

// Where the same model's chat template is looked for (ChatTemplate::Open): the folder, or the .gguf file whose tokenizer is
// used and whose folder has no template beside it.
std::filesystem::path ChatTemplateSource(const std::string& model);

}  // namespace ternion
