#include "launcher/model.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "kernels/status.h"
#include "runtime/checkpoint/converted.h"
#include "runtime/checkpoint/gguf.h"
#include "runtime/text/gguf_tokenizer.h"
#include "runtime/text/sentencepiece_tokenizer.h"

namespace ternion {
namespace {

constexpr char kExtension[] = ".gguf";

std::vector<std::string> GgufFilesIn(const std::filesystem::path& folder) {
  std::vector<std::string> names;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(folder, ignored)) {
    if (entry.path().extension() == kExtension) names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

// Where a tokenizer that is no tokenizer.json lies.
absl::StatusOr<std::optional<std::filesystem::path>> TokenizerGguf(const std::filesystem::path& model) {
  std::error_code ignored;
  if (std::filesystem::exists(model / kTokenizerGguf, ignored)) return model / kTokenizerGguf;
  return GgufOf(model);
}

}  // namespace

absl::StatusOr<std::optional<std::filesystem::path>> GgufOf(const std::filesystem::path& model) {
  std::error_code ignored;
  if (model.extension() == kExtension && !std::filesystem::is_directory(model, ignored)) return model;
  if (std::filesystem::is_regular_file(model, ignored)) {
    return absl::InvalidArgumentError(
        absl::StrCat(model.string(), ": is a file; MODEL is a folder with a config.json, or a .gguf file"));
  }
  if (std::filesystem::exists(model / "config.json", ignored)) return std::nullopt;
  const std::vector<std::string> names = GgufFilesIn(model);
  if (names.empty()) return std::nullopt;
  if (names.size() == 1) return model / names[0];
  return absl::InvalidArgumentError(absl::StrCat(model.string(), ": holds ", names.size(), " .gguf files (",
                                                 absl::StrJoin(names, ", "), "); name one of them"));
}

absl::StatusOr<std::unique_ptr<WeightSource>> OpenModel(const JobOptions& options) {
  if (!options.synthetic.empty()) return OpenSynthetic(options.synthetic);
  if (IsConverted(options.model)) return OpenConverted(options.model);
  TERNION_ASSIGN_OR_RETURN(const auto gguf, GgufOf(options.model));
  return gguf.has_value() ? OpenGguf(*gguf) : OpenCheckpoint(options.model);
}

void LogRounding(const WeightSource& source) {
  const std::vector<std::string> rounded = source.Rounded();
  if (!rounded.empty())
    spdlog::warn("rounded to bfloat16 as they are read: {}", absl::StrJoin(rounded, ", "));
}

absl::Status CheckConvertedGrid(const JobOptions& options) {
  if (!options.synthetic.empty() || !IsConverted(options.model)) return absl::OkStatus();
  const absl::StatusOr<ConvertedManifest> manifest = ReadFolderManifest(options.model);
  if (!manifest.ok()) return absl::OkStatus();  // OpenModel tells why
  if (options.tp == manifest->tp && options.pp == manifest->pp) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(options.model, ": was converted for tp ", manifest->tp, ", pp ", manifest->pp,
                   ", and --tp ", options.tp, " --pp ", options.pp,
                   " asks for another grid; leave them out, or convert its source again"));
}

absl::StatusOr<std::unique_ptr<Tokenizer>> OpenTokenizer(const std::string& model) {
  const std::filesystem::path folder = model;
  const std::filesystem::path json = folder / "tokenizer.json";
  std::error_code ignored;
  if (std::filesystem::exists(json, ignored)) return Tokenizer::Load(json);
  if (std::filesystem::exists(folder / "tokenizer.model", ignored)) return LoadSentencePieceTokenizer(folder);
  TERNION_ASSIGN_OR_RETURN(const auto gguf, TokenizerGguf(model));
  if (!gguf.has_value()) {
    return absl::NotFoundError(
        absl::StrCat(json.string(), ": no such file, and no tokenizer.model or .gguf file beside it; ",
                     "put the model's tokenizer there"));
  }
  TERNION_ASSIGN_OR_RETURN(const GgufFile file, GgufFile::Open(*gguf));
  return MakeGgufTokenizer(file.contents);
}

std::filesystem::path ChatTemplateSource(const std::string& model) {
  const std::filesystem::path folder = model;
  std::error_code ignored;
  for (const char* file :
       {"tokenizer.json", "tokenizer.model", "chat_template.jinja", "tokenizer_config.json"}) {
    if (std::filesystem::exists(folder / file, ignored)) return folder;
  }
  const auto gguf = TokenizerGguf(folder);
  return gguf.ok() && gguf->has_value() ? **gguf : folder;
}

}  // namespace ternion
