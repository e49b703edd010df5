#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "runtime/text/tokenizer.h"

namespace ternion {

struct ChatMessage {
  std::string role;  // system, user, assistant
  std::string content;
};

// Turns messages into a prompt. This form knows the Llama-3 layout alone, and is there when the tokenizer has
// its tokens: <|begin_of_text|>, then for each message
// <|start_header_id|>role<|end_header_id|>\n\ncontent<|eot_id|>, then an open assistant header. Content loses
// the white space around it, as in the layout's own template.
class ChatTemplate {
 public:
  // kFailedPrecondition when the tokenizer does not have the tokens: the model cannot chat.
  static absl::StatusOr<std::unique_ptr<ChatTemplate>> ForTokenizer(const Tokenizer& tokenizer);
  // The prompt's ids, with the BOS. Text of a message never turns into special tokens.
  // kInvalidArgument: no messages, an unknown role (named), text that is not UTF-8.
  absl::StatusOr<std::vector<int32_t>> Apply(absl::Span<const ChatMessage> messages,
                                             bool add_generation_prompt) const;
  // The id that ends a turn.
  int32_t end_of_turn() const { return end_of_turn_; }

 private:
  explicit ChatTemplate(const Tokenizer& tokenizer) : tokenizer_(&tokenizer) {}
  absl::Status AppendHeader(std::string_view role, std::vector<int32_t>& ids) const;
  absl::Status AppendMessage(const ChatMessage& message, std::vector<int32_t>& ids) const;
  absl::Status AppendPlain(std::string_view text, std::vector<int32_t>& ids) const;

  const Tokenizer* tokenizer_;
  int32_t begin_of_text_ = -1;
  int32_t start_header_ = -1;
  int32_t end_header_ = -1;
  int32_t end_of_turn_ = -1;
};

}  // namespace ternion
