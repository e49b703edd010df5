#pragma once

#include <cstdint>
#include <ctime>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "nlohmann/json.hpp"
#include "runtime/text/chat_template_file.h"
#include "runtime/text/jinja/template.h"
#include "runtime/text/tokenizer.h"

namespace ternion {

struct ChatMessage {
  std::string role;                     // system, user, assistant, or another that the template knows
  std::string content;                  // of parts: all of them, one after the other
  std::vector<std::string> parts = {};  // where the content came as a list of texts
};

// Turns messages into a prompt, with the model's own chat template (runtime/text/jinja) or, where the folder has none,
// with Llama-3's layout: <|begin_of_text|>, then for each message
// <|start_header_id|>role<|end_header_id|>\n\ncontent<|eot_id|>, then an open assistant header. Immutable and
// thread-safe.
class ChatTemplate {
 public:
  // The template of a model's folder, else Llama-3's layout. kInvalidArgument names the file and, of a template that
  // cannot be parsed, line and column; kFailedPrecondition as ForTokenizer. `tokenizer` outlives the template.
  static absl::StatusOr<std::unique_ptr<ChatTemplate>> Open(const std::filesystem::path& folder,
                                                            const Tokenizer& tokenizer);
  // Llama-3's layout. kFailedPrecondition when the tokenizer does not have its tokens: the model cannot chat.
  static absl::StatusOr<std::unique_ptr<ChatTemplate>> ForTokenizer(const Tokenizer& tokenizer);

  // The prompt's ids; the BOS is the template's to write. Text of a message never turns into added tokens, special
  // ones least of all; between them it is encoded together with the template's own text. `more`: an object of
  // variables for the template, or null.
  // kInvalidArgument: no messages, text that is not UTF-8, what the template refuses (its own words) or fails at.
  absl::StatusOr<std::vector<int32_t>> Apply(absl::Span<const ChatMessage> messages,
                                             bool add_generation_prompt,
                                             const nlohmann::json& more = nullptr) const;
  // The ids that end a turn: the special token that the template writes behind what an assistant says, and the
  // tokenizer's eos_token.
  const std::vector<int32_t>& end_of_turn() const { return end_of_turn_; }

 private:
  // What kinds of content the template shows.
  enum class Content : uint8_t { kText, kParts, kBoth };

  ChatTemplate(const Tokenizer& tokenizer, std::unique_ptr<const jinja::Template> parsed,
               const std::vector<std::pair<std::string, std::string>>& special_tokens);

  absl::StatusOr<jinja::Text> Render(absl::Span<const ChatMessage> messages, bool add_generation_prompt,
                                     const nlohmann::json& more) const;
  jinja::Value MessageValue(const ChatMessage& message) const;
  bool Shows(Content content);
  Content ProbeContent();
  std::vector<int32_t> ProbeEndOfTurn() const;

  const Tokenizer* tokenizer_;
  std::unique_ptr<const jinja::Template> template_;
  jinja::Variables special_tokens_;
  Content content_ = Content::kText;
  std::vector<int32_t> end_of_turn_;
};

}  // namespace ternion
