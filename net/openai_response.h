#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/types/span.h"
#include "net/completion_stream.h"
#include "net/generation.h"
#include "net/openai_request.h"

namespace ternion {

// All that a choice gave.
struct WholeChoice {
  std::string text;
  FinishReason finish = FinishReason::kStop;
  std::vector<ToldToken> tokens;
};

// Writes the answer to one request in OpenAI's shapes: text_completion, chat.completion and
// chat.completion.chunk.
class OpenAiResponse {
 public:
  // `unique` makes the answer's id: "cmpl-UNIQUE" or "chatcmpl-UNIQUE". `created`: Unix seconds.
  OpenAiResponse(const OpenAiRequest& request, std::string_view model, std::string_view unique,
                 int64_t created);

  // Streams: appends the SSE events of one delta. A delta without text and tokens gives none, unless it is a choice's last,
  // or in chat its first (whose event carries the role).
  void AppendDelta(std::string* out, const ChoiceDelta& delta, const Usage& usage);
  // Streams: the usage, where it was asked for, and [DONE].
  void AppendEnd(std::string* out, const Usage& usage) const;

  // The whole answer.
  std::string Whole(const std::vector<WholeChoice>& choices, const Usage& usage) const;

 private:
  // A choice: `content` is its text, message or delta field.
  std::string ChoiceJson(size_t index, std::string_view content, absl::Span<const ToldToken> tokens,
                         std::optional<FinishReason> reason) const;
  void AppendChunk(std::string* out, std::string_view choice, std::string_view usage) const;
  std::string ChunkUsage(const Usage& usage) const;

  bool chat_;
  bool logprobs_;
  bool include_usage_;
  bool continuous_usage_;
  std::set<int> roles_sent_;  // chat: choices whose first chunk was sent
  std::string head_;          // what every object of the answer begins with, without the "object" field
};

// {"object": "list", "data": [the one model]}
std::string ModelListJson(std::string_view model, int64_t created, int64_t max_model_len);

}  // namespace ternion
