#include "net/tokenization.h"

#include <cstdint>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "kernels/status.h"
#include "net/field_reader.h"
#include "net/http_error.h"
#include "net/json_body.h"
#include "net/json_quote.h"
#include "net/openai_prompt.h"
#include "net/prepared_prompt.h"

namespace ternion {
namespace {

using nlohmann::json;

absl::StatusOr<json> ParseObject(std::string_view body) {
  TERNION_ASSIGN_OR_RETURN(json document, ParseJsonBody(body));
  if (!document.is_object()) return absl::InvalidArgumentError("the body must be a JSON object");
  return document;
}

absl::Status CheckModel(FieldReader& reader, std::string_view served) {
  std::string asked;
  reader.Read("model", &asked);
  if (!reader.ok()) return reader.status();
  return asked.empty() || asked == served ? absl::OkStatus() : ModelNotFound(asked, served);
}

// What vLLM knows here and this version would have to ignore.
void RefuseUnsupported(FieldReader& reader) {
  for (const std::string_view name : {"return_token_strs", "continue_final_message"}) {
    bool asked = false;
    reader.Read(name, &asked);
    if (asked) reader.FailUnsupported(name, "this version does not support it");
  }
}

absl::StatusOr<std::vector<int32_t>> EncodePrompt(FieldReader& reader, const ModelService& model) {
  std::string prompt;
  bool add_special = true;
  reader.Read("prompt", &prompt);
  reader.Read("add_special_tokens", &add_special);
  if (!reader.ok()) return reader.status();
  auto ids = model.tokenizer->Encode(prompt, add_special);
  if (!ids.ok()) return BlameParam("prompt", ids.status());
  return ids;
}

absl::StatusOr<std::vector<int32_t>> EncodeMessages(FieldReader& reader, const ModelService& model) {
  OpenAiRequest request;
  bool add_special = false;
  ReadMessages(reader, &request.messages);
  reader.Read("add_generation_prompt", &request.add_generation_prompt);
  ReadTemplateVariables(reader, &request.chat_template_kwargs);
  reader.Read("add_special_tokens", &add_special);
  if (add_special) reader.FailUnsupported("add_special_tokens", "the chat template writes them");
  if (!reader.ok()) return reader.status();
  return EncodeChat(request, model);
}

absl::StatusOr<std::vector<int32_t>> Encode(FieldReader& reader, const ModelService& model) {
  const bool has_messages = reader.Find("messages") != nullptr;
  if (reader.Find("prompt") != nullptr) {
    if (has_messages) return ParamError("messages", "and prompt exclude each other");
    return EncodePrompt(reader, model);
  }
  if (!has_messages) return ParamError("prompt", "is required, or messages");
  return EncodeMessages(reader, model);
}

absl::Status CheckTokens(const std::vector<int32_t>& tokens, const Tokenizer& tokenizer, size_t most_bytes) {
  size_t bytes = 0;
  for (const int32_t id : tokens) {
    if (id >= tokenizer.vocab_size()) {
      return ParamError(
          "tokens", absl::StrCat("token id ", id, " is outside the vocabulary of ", tokenizer.vocab_size()));
    }
    bytes += tokenizer.TokenBytes(id).size();
  }
  if (bytes <= most_bytes) return absl::OkStatus();
  return ParamError("tokens",
                    absl::StrCat("stand for ", bytes, " bytes of text; an answer may hold ", most_bytes));
}

}  // namespace

absl::StatusOr<std::string> TokenizeJson(std::string_view body, const ModelService& model,
                                         std::string_view served) {
  TERNION_ASSIGN_OR_RETURN(const json document, ParseObject(body));
  FieldReader reader(document);
  TERNION_RETURN_IF_ERROR(CheckModel(reader, served));
  RefuseUnsupported(reader);
  if (!reader.ok()) return reader.status();
  TERNION_ASSIGN_OR_RETURN(const std::vector<int32_t> ids, Encode(reader, model));
  return absl::StrCat("{\"count\":", ids.size(), ",\"max_model_len\":", model.generator->max_model_len(),
                      ",\"tokens\":[", absl::StrJoin(ids, ","), "]}");
}

absl::StatusOr<std::string> DetokenizeJson(std::string_view body, const ModelService& model,
                                           std::string_view served, size_t most_bytes) {
  TERNION_ASSIGN_OR_RETURN(const json document, ParseObject(body));
  FieldReader reader(document);
  TERNION_RETURN_IF_ERROR(CheckModel(reader, served));
  std::vector<int32_t> tokens;
  if (reader.Find("tokens") == nullptr) return ParamError("tokens", "is required");
  reader.Read("tokens", &tokens);
  if (!reader.ok()) return reader.status();
  TERNION_RETURN_IF_ERROR(CheckTokens(tokens, *model.tokenizer, most_bytes));
  return absl::StrCat("{\"prompt\":", QuoteJson(model.tokenizer->Decode(tokens, /*skip_special=*/false)),
                      "}");
}

}  // namespace ternion
