#include "net/openai_response.h"

#include "absl/strings/str_cat.h"
#include "kernels/status.h"
#include "net/json_quote.h"
#include "net/logprobs_json.h"
#include "net/sse.h"

namespace ternion {
namespace {

// Objects are put together as text: a stream has one for every token, and only strings need care.
std::string UsageJson(const Usage& usage) {
  return absl::StrCat("{\"prompt_tokens\":", usage.prompt_tokens,
                      ",\"completion_tokens\":", usage.completion_tokens,
                      ",\"total_tokens\":", usage.prompt_tokens + usage.completion_tokens,
                      ",\"prompt_tokens_details\":{\"cached_tokens\":", usage.cached_tokens, "}}");
}

std::string ReasonJson(std::optional<FinishReason> reason) {
  return reason.has_value() ? absl::StrCat("\"", ToAbsl(FinishReasonName(*reason)), "\"") : "null";
}

}  // namespace

OpenAiResponse::OpenAiResponse(const OpenAiRequest& request, std::string_view model, std::string_view unique,
                               int64_t created)
    : chat_(request.endpoint == Endpoint::kChat),
      logprobs_(request.logprobs >= 0),
      include_usage_(request.include_usage),
      continuous_usage_(request.continuous_usage),
      head_(absl::StrCat("{\"id\":\"", chat_ ? "chatcmpl-" : "cmpl-", ToAbsl(unique),
                         "\",\"created\":", created, ",\"model\":", QuoteJson(model))) {}

std::string OpenAiResponse::ChoiceJson(size_t index, std::string_view content,
                                       absl::Span<const ToldToken> tokens,
                                       std::optional<FinishReason> reason) const {
  std::string logprobs = "null";
  if (logprobs_ && !tokens.empty())
    logprobs = chat_ ? ChatLogprobsJson(tokens) : CompletionLogprobsJson(tokens);
  return absl::StrCat("{\"index\":", index, ",", ToAbsl(content), ",\"logprobs\":", logprobs,
                      ",\"finish_reason\":", ReasonJson(reason), "}");
}

std::string OpenAiResponse::ChunkUsage(const Usage& usage) const {
  if (continuous_usage_) return absl::StrCat(",\"usage\":", UsageJson(usage));
  return include_usage_ ? ",\"usage\":null" : "";
}

void OpenAiResponse::AppendChunk(std::string* out, std::string_view choice, std::string_view usage) const {
  AppendSseEvent(out,
                 absl::StrCat(head_, ",\"object\":\"", chat_ ? "chat.completion.chunk" : "text_completion",
                              "\",\"choices\":[", ToAbsl(choice), "]", ToAbsl(usage), "}"));
}

void OpenAiResponse::AppendDelta(std::string* out, const ChoiceDelta& delta, const Usage& usage) {
  const std::string tail = ChunkUsage(usage);
  const size_t index = static_cast<size_t>(delta.choice);
  if (!chat_) {
    if (delta.text.empty() && delta.tokens.empty() && !delta.finish.has_value()) return;
    const std::string text = absl::StrCat("\"text\":", QuoteJson(delta.text));
    return AppendChunk(out, ChoiceJson(index, text, delta.tokens, delta.finish), tail);
  }
  if (roles_sent_.insert(delta.choice).second) {
    AppendChunk(out, ChoiceJson(index, R"("delta":{"role":"assistant","content":""})", {}, {}), tail);
  }
  const bool shows = !delta.text.empty() || !delta.tokens.empty();
  if (shows) {
    const std::string content = absl::StrCat("\"delta\":{\"content\":", QuoteJson(delta.text), "}");
    AppendChunk(out, ChoiceJson(index, content, delta.tokens, {}), tail);
  }
  if (delta.finish.has_value()) AppendChunk(out, ChoiceJson(index, "\"delta\":{}", {}, delta.finish), tail);
}

void OpenAiResponse::AppendEnd(std::string* out, const Usage& usage) const {
  if (include_usage_) AppendChunk(out, "", absl::StrCat(",\"usage\":", UsageJson(usage)));
  out->append(kSseDone);
}

std::string OpenAiResponse::Whole(const std::vector<WholeChoice>& choices, const Usage& usage) const {
  std::string list;
  for (size_t i = 0; i < choices.size(); ++i) {
    const std::string text = QuoteJson(choices[i].text);
    const std::string content =
        chat_ ? absl::StrCat("\"message\":{\"role\":\"assistant\",\"content\":", text, "}")
              : absl::StrCat("\"text\":", text);
    absl::StrAppend(&list, i == 0 ? "" : ",", ChoiceJson(i, content, choices[i].tokens, choices[i].finish));
  }
  return absl::StrCat(head_, ",\"object\":\"", chat_ ? "chat.completion" : "text_completion",
                      "\",\"choices\":[", list, "],\"usage\":", UsageJson(usage), "}");
}

std::string ModelListJson(std::string_view model, int64_t created, int64_t max_model_len) {
  return absl::StrCat("{\"object\":\"list\",\"data\":[{\"id\":", QuoteJson(model),
                      ",\"object\":\"model\",\"created\":", created,
                      ",\"owned_by\":\"ternion\",\"max_model_len\":", max_model_len, "}]}");
}

}  // namespace ternion
