#include "net/openai_response.h"

#include "absl/strings/str_cat.h"
#include "kernels/status.h"
#include "net/sse.h"
#include "nlohmann/json.hpp"

namespace ternion {
namespace {

// Objects are put together as text: a stream has one for every token, and only strings need care.
std::string Quote(std::string_view text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string UsageJson(const Usage& usage) {
  return absl::StrCat("{\"prompt_tokens\":", usage.prompt_tokens,
                      ",\"completion_tokens\":", usage.completion_tokens,
                      ",\"total_tokens\":", usage.prompt_tokens + usage.completion_tokens, "}");
}

std::string ReasonJson(std::optional<FinishReason> reason) {
  return reason.has_value() ? absl::StrCat("\"", ToAbsl(FinishReasonName(*reason)), "\"") : "null";
}

// A choice: `content` is its text, message or delta field.
std::string ChoiceJson(size_t index, std::string_view content, std::optional<FinishReason> reason) {
  return absl::StrCat("{\"index\":", index, ",", ToAbsl(content),
                      ",\"logprobs\":null,\"finish_reason\":", ReasonJson(reason), "}");
}

}  // namespace

OpenAiResponse::OpenAiResponse(const OpenAiRequest& request, std::string_view model, std::string_view unique,
                               int64_t created)
    : chat_(request.endpoint == Endpoint::kChat),
      include_usage_(request.include_usage),
      continuous_usage_(request.continuous_usage),
      head_(absl::StrCat("{\"id\":\"", chat_ ? "chatcmpl-" : "cmpl-", ToAbsl(unique),
                         "\",\"created\":", created, ",\"model\":", Quote(model))) {}

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
    if (delta.text.empty() && !delta.finish.has_value()) return;
    return AppendChunk(out, ChoiceJson(index, absl::StrCat("\"text\":", Quote(delta.text)), delta.finish),
                       tail);
  }
  if (roles_sent_.insert(delta.choice).second) {
    AppendChunk(out, ChoiceJson(index, R"("delta":{"role":"assistant","content":""})", {}), tail);
  }
  if (!delta.text.empty()) {
    const std::string content = absl::StrCat("\"delta\":{\"content\":", Quote(delta.text), "}");
    AppendChunk(out, ChoiceJson(index, content, {}), tail);
  }
  if (delta.finish.has_value()) AppendChunk(out, ChoiceJson(index, "\"delta\":{}", delta.finish), tail);
}

void OpenAiResponse::AppendEnd(std::string* out, const Usage& usage) const {
  if (include_usage_) AppendChunk(out, "", absl::StrCat(",\"usage\":", UsageJson(usage)));
  out->append(kSseDone);
}

std::string OpenAiResponse::Whole(const std::vector<std::string>& texts,
                                  const std::vector<FinishReason>& reasons, const Usage& usage) const {
  std::string choices;
  for (size_t i = 0; i < texts.size(); ++i) {
    const std::string text = Quote(texts[i]);
    const std::string content =
        chat_ ? absl::StrCat("\"message\":{\"role\":\"assistant\",\"content\":", text, "}")
              : absl::StrCat("\"text\":", text);
    absl::StrAppend(&choices, i == 0 ? "" : ",", ChoiceJson(i, content, reasons[i]));
  }
  return absl::StrCat(head_, ",\"object\":\"", chat_ ? "chat.completion" : "text_completion",
                      "\",\"choices\":[", choices, "],\"usage\":", UsageJson(usage), "}");
}

std::string ModelListJson(std::string_view model, int64_t created, int64_t max_model_len) {
  return absl::StrCat("{\"object\":\"list\",\"data\":[{\"id\":", Quote(model),
                      ",\"object\":\"model\",\"created\":", created,
                      ",\"owned_by\":\"ternion\",\"max_model_len\":", max_model_len, "}]}");
}

}  // namespace ternion
