#include "launcher/convert_files.h"

#include <filesystem>
#include <optional>

#include "kernels/status.h"
#include "launcher/model.h"
#include "runtime/checkpoint/gguf.h"
#include "runtime/checkpoint/mapped_file.h"

namespace ternion {
namespace {

using Files = std::vector<std::pair<std::string, std::string>>;

constexpr size_t kMostBytes = size_t{1} << 30;
constexpr char kConfig[] = "config.json";
// Of a Hugging Face folder whatever is there.
constexpr const char* kFolderFiles[] = {kConfig,
                                        "generation_config.json",
                                        "quantize_config.json",
                                        "tokenizer.json",
                                        "tokenizer.model",
                                        "tokenizer_config.json",
                                        "special_tokens_map.json",
                                        "added_tokens.json",
                                        "vocab.json",
                                        "merges.txt",
                                        "chat_template.jinja"};
// Of a folder that holds a .gguf file: what comes before the tokenizer in it.
constexpr const char* kBesideGguf[] = {"tokenizer.json", "tokenizer.model", "tokenizer_config.json",
                                       "chat_template.jinja"};

absl::Status AddFile(const std::filesystem::path& path, Files& files) {
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) return absl::OkStatus();
  TERNION_ASSIGN_OR_RETURN(std::string text, ReadTextFile(path, kMostBytes));
  files.emplace_back(path.filename().string(), std::move(text));
  return absl::OkStatus();
}

absl::StatusOr<Files> FilesOfSynthetic(const std::filesystem::path& config) {
  Files files;
  TERNION_RETURN_IF_ERROR(AddFile(config, files));
  for (auto& [name, content] : files) name = kConfig;
  for (const char* name : {"generation_config.json", "quantize_config.json"}) {
    TERNION_RETURN_IF_ERROR(AddFile(config.parent_path() / name, files));
  }
  return files;
}

absl::StatusOr<Files> FilesOfGguf(const std::filesystem::path& model, const std::filesystem::path& gguf,
                                  const WeightSource& source) {
  Files files = {{kConfig, source.config().text}};
  TERNION_ASSIGN_OR_RETURN(const GgufFile file, GgufFile::Open(gguf));
  TERNION_ASSIGN_OR_RETURN(std::string metadata, GgufMetadataAlone(file));
  files.emplace_back(kTokenizerGguf, std::move(metadata));
  std::error_code ignored;
  if (!std::filesystem::is_directory(model, ignored)) return files;
  for (const char* name : kBesideGguf) TERNION_RETURN_IF_ERROR(AddFile(model / name, files));
  return files;
}

}  // namespace

absl::StatusOr<Files> FilesToKeep(const JobOptions& options, const WeightSource& source) {
  if (!options.synthetic.empty()) return FilesOfSynthetic(options.synthetic);
  const std::filesystem::path model = options.model;
  TERNION_ASSIGN_OR_RETURN(const auto gguf, GgufOf(model));
  if (gguf.has_value()) return FilesOfGguf(model, *gguf, source);
  Files files;
  for (const char* name : kFolderFiles) TERNION_RETURN_IF_ERROR(AddFile(model / name, files));
  return files;
}

}  // namespace ternion
