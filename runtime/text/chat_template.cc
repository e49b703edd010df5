#include "runtime/text/chat_template.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/status.h"
#include "runtime/text/utf8.h"

namespace ternion {
namespace {

std::string_view Trim(std::string_view text) {
  text.remove_prefix(LeadingWhiteSpace(text));
  text.remove_suffix(TrailingWhiteSpace(text));
  return text;
}

absl::Status CheckMessage(const ChatMessage& message, size_t i) {
  const auto roles = {"system", "user", "assistant"};
  if (std::find(roles.begin(), roles.end(), message.role) == roles.end()) {
    return absl::InvalidArgumentError(absl::StrCat("messages[", i, "].role is \"", message.role,
                                                   "\"; it is to be system, user or assistant"));
  }
  const size_t invalid = FindInvalidUtf8(message.content);
  if (invalid == std::string_view::npos) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("messages[", i, "].content is not UTF-8 at byte ", invalid));
}

}  // namespace

absl::StatusOr<std::unique_ptr<ChatTemplate>> ChatTemplate::ForTokenizer(const Tokenizer& tokenizer) {
  std::unique_ptr<ChatTemplate> result(new ChatTemplate(tokenizer));
  const std::pair<std::string_view, int32_t*> needed[] = {{"<|begin_of_text|>", &result->begin_of_text_},
                                                          {"<|start_header_id|>", &result->start_header_},
                                                          {"<|end_header_id|>", &result->end_header_},
                                                          {"<|eot_id|>", &result->end_of_turn_}};
  for (const auto& [content, id] : needed) {
    const std::optional<int32_t> found = tokenizer.TokenId(content);
    if (!found.has_value()) {
      return absl::FailedPreconditionError(absl::StrCat(
          "the tokenizer has no ", ToAbsl(content), ", so the model has no chat form that is known here"));
    }
    *id = *found;
  }
  return result;
}

absl::StatusOr<std::vector<int32_t>> ChatTemplate::Apply(absl::Span<const ChatMessage> messages,
                                                         bool add_generation_prompt) const {
  if (messages.empty()) return absl::InvalidArgumentError("messages is empty; at least one is needed");
  std::vector<int32_t> ids = {begin_of_text_};
  for (size_t i = 0; i < messages.size(); ++i) {
    TERNION_RETURN_IF_ERROR(CheckMessage(messages[i], i));
    TERNION_RETURN_IF_ERROR(AppendMessage(messages[i], ids));
  }
  if (add_generation_prompt) {
    TERNION_RETURN_IF_ERROR(AppendHeader("assistant", ids));
    TERNION_RETURN_IF_ERROR(AppendPlain("\n\n", ids));
  }
  return ids;
}

absl::Status ChatTemplate::AppendMessage(const ChatMessage& message, std::vector<int32_t>& ids) const {
  TERNION_RETURN_IF_ERROR(AppendHeader(message.role, ids));
  // One text, as in the layout's template: words may span the line breaks.
  TERNION_RETURN_IF_ERROR(AppendPlain(absl::StrCat("\n\n", ToAbsl(Trim(message.content))), ids));
  ids.push_back(end_of_turn_);
  return absl::OkStatus();
}

absl::Status ChatTemplate::AppendHeader(std::string_view role, std::vector<int32_t>& ids) const {
  ids.push_back(start_header_);
  TERNION_RETURN_IF_ERROR(AppendPlain(role, ids));
  ids.push_back(end_header_);
  return absl::OkStatus();
}

absl::Status ChatTemplate::AppendPlain(std::string_view text, std::vector<int32_t>& ids) const {
  TERNION_ASSIGN_OR_RETURN(const std::vector<int32_t> plain, tokenizer_->EncodePlain(text));
  ids.insert(ids.end(), plain.begin(), plain.end());
  return absl::OkStatus();
}

}  // namespace ternion
