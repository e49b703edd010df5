#include "runtime/text/chat_template_file.h"

#include <fstream>
#include <iterator>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "kernels/status.h"
#include "runtime/checkpoint/gguf.h"
#include "runtime/text/gguf_tokenizer.h"
#include "runtime/text/json_node.h"

namespace ternion {
namespace {

bool Exists(const std::filesystem::path& file) {
  std::error_code ignored;
  return std::filesystem::exists(file, ignored);
}

absl::StatusOr<std::string> ReadText(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
  if (stream.bad() || !stream.is_open()) {
    return absl::InvalidArgumentError(absl::StrCat(file.string(), ": cannot be read"));
  }
  return text;
}

// [{"name": "default", "template": "..."}, ...]
absl::StatusOr<std::string> DefaultOf(const JsonNode& list) {
  for (size_t i = 0; i < list.value().size(); ++i) {
    const JsonNode item = list.Item(i);
    TERNION_ASSIGN_OR_RETURN(const std::string name, item.String("name"));
    if (name == "default") return item.String("template");
  }
  return list.Invalid("has no template named \"default\"");
}

absl::StatusOr<std::string> SourceIn(const JsonNode& config) {
  if (!config.Has("chat_template")) return std::string();
  TERNION_ASSIGN_OR_RETURN(const JsonNode node, config.Field("chat_template"));
  return node.value().is_array() ? DefaultOf(node) : config.String("chat_template");
}

// Every field "..._token" that is a string, or an object that holds it as its content; add_bos_token and the like are
// neither.
absl::StatusOr<std::vector<std::pair<std::string, std::string>>> TokensIn(const JsonNode& config) {
  std::vector<std::pair<std::string, std::string>> tokens;
  for (const auto& [name, value] : config.value().items()) {
    if (!std::string_view(name).ends_with("_token") || !(value.is_string() || value.is_object())) continue;
    TERNION_ASSIGN_OR_RETURN(const JsonNode node, config.Field(name));
    TERNION_ASSIGN_OR_RETURN(std::string content,
                             value.is_object() ? node.String("content") : config.String(name));
    tokens.emplace_back(name, std::move(content));
  }
  return tokens;
}

absl::StatusOr<ChatTemplateFile> ReadFolder(const std::filesystem::path& folder) {
  ChatTemplateFile result;
  if (const std::filesystem::path file = folder / "tokenizer_config.json"; Exists(file)) {
    TERNION_ASSIGN_OR_RETURN(const nlohmann::json json, ReadJsonFile(file));
    const JsonNode config(json, file.string());
    TERNION_RETURN_IF_ERROR(config.ExpectObject());
    TERNION_ASSIGN_OR_RETURN(result.special_tokens, TokensIn(config));
    TERNION_ASSIGN_OR_RETURN(result.source, SourceIn(config));
    result.file = file.string() + ": chat_template";
  }
  if (const std::filesystem::path file = folder / "chat_template.jinja"; Exists(file)) {
    TERNION_ASSIGN_OR_RETURN(result.source, ReadText(file));
    result.file = file.string();
  }
  return result;
}

}  // namespace

absl::StatusOr<ChatTemplateFile> ReadChatTemplate(const std::filesystem::path& model) {
  std::error_code ignored;
  if (std::filesystem::is_regular_file(model, ignored)) {
    TERNION_ASSIGN_OR_RETURN(const GgufFile gguf, GgufFile::Open(model));
    return ReadGgufChatTemplate(gguf.contents);
  }
  return ReadFolder(model);
}

}  // namespace ternion
