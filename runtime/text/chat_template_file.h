#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace ternion {

// What a model's files say about chats.
struct ChatTemplateFile {
  std::string file;                                                 // the one that holds the template
  std::string source;                                               // Jinja; empty: there is none
  std::vector<std::pair<std::string, std::string>> special_tokens;  // ("eos_token", "</s>")
};

// A folder's chat_template.jinja, or else tokenizer_config.json's chat_template, of several the one named "default"; the
// special tokens are tokenizer_config.json's. Files that are not there are empty. Of a .gguf file what its metadata hold.
// kInvalidArgument: fields of other types, no "default".
absl::StatusOr<ChatTemplateFile> ReadChatTemplate(const std::filesystem::path& model);

}  // namespace ternion
