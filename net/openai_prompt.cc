#include "net/openai_prompt.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace ternion {
namespace {

using nlohmann::json;

constexpr size_t kMostPrompts = 1024, kMostVariables = 64;
constexpr std::string_view kPromptShapes =
    "must be a string, an array of strings, an array of token ids, or an array of arrays of token ids";

// Ids of one prompt; empty when `value` is not an array of ids.
std::vector<int32_t> IdsFrom(const json& value) {
  std::vector<int32_t> ids;
  if (!value.is_array()) return ids;
  ids.reserve(value.size());
  for (const json& entry : value) {
    const std::optional<int32_t> id = TokenIdFrom(entry);
    if (!id.has_value()) return {};
    ids.push_back(*id);
  }
  return ids;
}

// One entry of an array of prompts.
void ReadPrompt(FieldReader& reader, const json& value, std::vector<PromptInput>* prompts) {
  if (value.is_string()) {
    prompts->emplace_back(value.get<std::string>());
  } else if (std::vector<int32_t> ids = IdsFrom(value); !ids.empty()) {
    prompts->emplace_back(std::move(ids));
  } else {
    reader.Fail("prompt", kPromptShapes);
  }
}

std::vector<std::string> PartsFrom(FieldReader& reader, const json& parts, const std::string& name) {
  std::vector<std::string> texts;
  for (size_t i = 0; i < parts.size(); ++i) {
    const std::string part_name = absl::StrCat(name, "[", i, "]");
    const json& part = parts[i];
    if (!part.is_object() || !part.contains("type") || !part["type"].is_string()) {
      reader.Fail(part_name, "must be an object with a type");
    } else if (part["type"] != "text") {
      reader.FailUnsupported(part_name, "this version takes parts of type \"text\" only");
    } else if (!part.contains("text") || !part["text"].is_string()) {
      reader.Fail(part_name, "must have a string \"text\"");
    } else {
      texts.push_back(part["text"].get<std::string>());
    }
  }
  return texts;
}

ChatMessage MessageFrom(FieldReader& reader, const json& value, const std::string& name) {
  ChatMessage message;
  if (!value.is_object()) {
    reader.Fail(name, "must be an object with role and content");
    return message;
  }
  const auto role = value.find("role");
  const auto content = value.find("content");
  if (role == value.end() || !role->is_string()) {
    reader.Fail(name + ".role", "must be a string");
  } else if (content == value.end() || !(content->is_string() || content->is_array())) {
    reader.Fail(name + ".content", "must be a string or an array of parts");
  } else {
    message.role = role->get<std::string>();
    if (content->is_array()) message.parts = PartsFrom(reader, *content, name + ".content");
    message.content = content->is_string() ? content->get<std::string>() : absl::StrJoin(message.parts, "");
  }
  return message;
}

}  // namespace

void ReadPrompts(FieldReader& reader, std::vector<PromptInput>* prompts) {
  const json* value = reader.Find("prompt");
  if (value == nullptr) return reader.Fail("prompt", "is required");
  if (!value->is_array()) return ReadPrompt(reader, *value, prompts);
  if (value->empty()) return reader.Fail("prompt", "must not be empty");
  if (value->front().is_number()) return ReadPrompt(reader, *value, prompts);
  if (value->size() > kMostPrompts) {
    return reader.Fail("prompt", absl::StrCat("may hold at most ", kMostPrompts, " prompts"));
  }
  const bool strings = value->front().is_string();
  for (const json& entry : *value) {
    if (entry.is_string() != strings) return reader.Fail("prompt", kPromptShapes);
    ReadPrompt(reader, entry, prompts);
  }
}

void ReadMessages(FieldReader& reader, std::vector<ChatMessage>* messages) {
  const json* value = reader.Find("messages");
  if (value == nullptr) return reader.Fail("messages", "is required");
  if (!value->is_array() || value->empty()) return reader.Fail("messages", "must be an array of messages");
  for (size_t i = 0; i < value->size() && reader.ok(); ++i) {
    messages->push_back(MessageFrom(reader, (*value)[i], absl::StrCat("messages[", i, "]")));
  }
}

void ReadTemplateVariables(FieldReader& reader, json* variables) {
  constexpr std::string_view kName = "chat_template_kwargs";
  const json* value = reader.Find(kName);
  if (value == nullptr) return;
  if (!value->is_object()) return reader.Fail(kName, "must be an object");
  if (value->contains("messages")) return reader.Fail(kName, "must not hold messages");
  if (value->size() > kMostVariables) {
    return reader.Fail(kName, absl::StrCat("may have at most ", kMostVariables, " members"));
  }
  *variables = *value;
}

}  // namespace ternion
