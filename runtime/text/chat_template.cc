#include "runtime/text/chat_template.h"

#include <algorithm>
#include <array>
#include <optional>

#include "absl/strings/str_cat.h"
#include "kernels/check.h"
#include "kernels/status.h"
#include "runtime/text/jinja/json.h"
#include "runtime/text/utf8.h"

namespace ternion {
namespace {

using jinja::Text;
using jinja::Value;

constexpr std::string_view kLlama3 = R"({{- '<|begin_of_text|>' }}
{%- for message in messages %}
  {%- if message.role not in ['system', 'user', 'assistant'] %}
    {{- raise_exception('messages[' ~ loop.index0 ~ '].role is "' ~ message.role
                        ~ '"; it is to be system, user or assistant') }}
  {%- endif %}
  {{- '<|start_header_id|>' ~ message.role ~ '<|end_header_id|>\n\n' ~ message.content | trim ~ '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
  {{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}
{%- endif %})";
constexpr std::string_view kLlama3Tokens[] = {"<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>",
                                              "<|eot_id|>"};

// What the probes look for; no template writes it by itself.
constexpr std::string_view kProbe = "Zq7probe";

absl::Status CheckText(std::string_view text, size_t i, absl::string_view field) {
  const size_t invalid = FindInvalidUtf8(text);
  if (invalid == std::string_view::npos) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("messages[", i, "].", field, " is not UTF-8 at byte ", invalid));
}

absl::Status CheckMessages(absl::Span<const ChatMessage> messages) {
  if (messages.empty()) return absl::InvalidArgumentError("messages is empty; at least one is needed");
  for (size_t i = 0; i < messages.size(); ++i) {
    TERNION_RETURN_IF_ERROR(CheckText(messages[i].role, i, "role"));
    TERNION_RETURN_IF_ERROR(CheckText(messages[i].content, i, "content"));
    for (const std::string& part : messages[i].parts) TERNION_RETURN_IF_ERROR(CheckText(part, i, "content"));
  }
  return absl::OkStatus();
}

// A role is the client's choice among words that templates know, some of which make tokens of it: '<|' + role + '|>'.
// Any other word is text.
Text RoleText(const std::string& role) {
  constexpr std::string_view kKnown[] = {"system",    "user",     "assistant", "tool",
                                         "developer", "function", "ipython"};
  const bool known = std::find(std::begin(kKnown), std::end(kKnown), role) != std::end(kKnown);
  return known ? Text::Own(role) : Text::Foreign(role);
}

Value DictOf(std::initializer_list<std::pair<std::string_view, Value>> entries) {
  auto dict = std::make_shared<jinja::Dict>();
  for (const auto& [name, value] : entries) dict->Set(name, value);
  return Value::Of(std::shared_ptr<const jinja::Dict>(std::move(dict)));
}

Value PartsOf(absl::Span<const std::string> texts) {
  std::vector<Value> parts;
  for (const std::string& text : texts) {
    parts.push_back(DictOf({{"type", Value::Own("text")}, {"text", Value::String(Text::Foreign(text))}}));
  }
  return Value::List(std::move(parts));
}

std::tm LocalTime() {
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  localtime_r(&now, &local);
  return local;
}

}  // namespace

absl::StatusOr<std::unique_ptr<ChatTemplate>> ChatTemplate::Open(const std::filesystem::path& folder,
                                                                 const Tokenizer& tokenizer) {
  TERNION_ASSIGN_OR_RETURN(const ChatTemplateFile file, ReadChatTemplate(folder));
  if (file.source.empty()) return ForTokenizer(tokenizer);
  auto parsed = jinja::Template::Parse(file.source);
  if (!parsed.ok()) {
    return absl::InvalidArgumentError(absl::StrCat(file.file, ": ", parsed.status().message()));
  }
  return std::unique_ptr<ChatTemplate>(new ChatTemplate(tokenizer, *std::move(parsed), file.special_tokens));
}

absl::StatusOr<std::unique_ptr<ChatTemplate>> ChatTemplate::ForTokenizer(const Tokenizer& tokenizer) {
  for (const std::string_view content : kLlama3Tokens) {
    if (tokenizer.TokenId(content).has_value()) continue;
    return absl::FailedPreconditionError(absl::StrCat("the model has no chat template, and its tokenizer no ",
                                                      ToAbsl(content), " for the Llama-3 layout"));
  }
  auto parsed = jinja::Template::Parse(kLlama3);
  CHECK(parsed.ok(), parsed.status().ToString());
  return std::unique_ptr<ChatTemplate>(new ChatTemplate(tokenizer, *std::move(parsed), {}));
}

ChatTemplate::ChatTemplate(const Tokenizer& tokenizer, std::unique_ptr<const jinja::Template> parsed,
                           const std::vector<std::pair<std::string, std::string>>& special_tokens)
    : tokenizer_(&tokenizer), template_(std::move(parsed)) {
  for (const auto& [name, content] : special_tokens) special_tokens_.emplace_back(name, Value::Own(content));
  content_ = ProbeContent();
  end_of_turn_ = ProbeEndOfTurn();
  for (const auto& [name, content] : special_tokens) {
    const std::optional<int32_t> id = name == "eos_token" ? tokenizer.TokenId(content) : std::nullopt;
    const bool is_new =
        id.has_value() && std::find(end_of_turn_.begin(), end_of_turn_.end(), *id) == end_of_turn_.end();
    if (is_new) end_of_turn_.push_back(*id);
  }
}

absl::StatusOr<std::vector<int32_t>> ChatTemplate::Apply(absl::Span<const ChatMessage> messages,
                                                         bool add_generation_prompt,
                                                         const nlohmann::json& more) const {
  TERNION_RETURN_IF_ERROR(CheckMessages(messages));
  TERNION_ASSIGN_OR_RETURN(const Text text, Render(messages, add_generation_prompt, more));
  return tokenizer_->EncodeMixed(text.bytes(), text.foreign());
}

absl::StatusOr<Text> ChatTemplate::Render(absl::Span<const ChatMessage> messages, bool add_generation_prompt,
                                          const nlohmann::json& more) const {
  std::vector<Value> values;
  for (const ChatMessage& message : messages) values.push_back(MessageValue(message));
  jinja::Variables variables = special_tokens_;
  variables.emplace_back("messages", Value::List(std::move(values)));
  variables.emplace_back("add_generation_prompt", Value::Bool(add_generation_prompt));
  variables.emplace_back("tools", Value::None());
  variables.emplace_back("documents", Value::None());
  if (more.is_object()) {
    for (const auto& [name, value] : more.items()) variables.emplace_back(name, jinja::FromJson(value));
  }
  auto text = template_->Render(variables, LocalTime());
  if (!absl::IsFailedPrecondition(text.status())) return text;
  return absl::InvalidArgumentError(absl::StrCat("the chat template fails: ", text.status().message()));
}

// The content in the form that it came in, where the template shows that.
Value ChatTemplate::MessageValue(const ChatMessage& message) const {
  const bool parts = content_ == Content::kParts || (content_ == Content::kBoth && !message.parts.empty());
  const Value role = Value::String(RoleText(message.role));
  if (!parts) return DictOf({{"role", role}, {"content", Value::String(Text::Foreign(message.content))}});
  return DictOf(
      {{"role", role},
       {"content", message.parts.empty() ? PartsOf({&message.content, 1}) : PartsOf(message.parts)}});
}

ChatTemplate::Content ChatTemplate::ProbeContent() {
  const bool text = Shows(Content::kText);
  if (!Shows(Content::kParts)) return Content::kText;
  return text ? Content::kBoth : Content::kParts;
}

// Is the probe shown, and not as a part of a printed list?
bool ChatTemplate::Shows(Content content) {
  content_ = content;
  const ChatMessage message{"user", std::string(kProbe)};
  const absl::StatusOr<Text> text = Render({&message, 1}, /*add_generation_prompt=*/true, nullptr);
  if (!text.ok()) return false;
  const bool printed = text->bytes().find("'type'") != std::string::npos ||
                       text->bytes().find("\"type\"") != std::string::npos;
  return text->bytes().find(kProbe) != std::string::npos && !printed;
}

std::vector<int32_t> ChatTemplate::ProbeEndOfTurn() const {
  const std::array<ChatMessage, 2> messages = {ChatMessage{"user", "Hello"},
                                               {"assistant", std::string(kProbe)}};
  const absl::StatusOr<Text> text = Render(messages, /*add_generation_prompt=*/false, nullptr);
  const size_t probe = text.ok() ? text->bytes().rfind(kProbe) : std::string::npos;
  if (probe == std::string::npos) return {};
  const Text behind = text->Substr(probe + kProbe.size(), text->size());
  const absl::StatusOr<std::vector<int32_t>> ids = tokenizer_->EncodeMixed(behind.bytes(), behind.foreign());
  if (!ids.ok()) return {};
  const auto is_space = [&](int32_t id) {
    const std::string_view bytes = tokenizer_->TokenBytes(id);
    return !tokenizer_->IsSpecial(id) && bytes.find_first_not_of(" \n") == std::string_view::npos;
  };
  const auto first = std::find_if_not(ids->begin(), ids->end(), is_space);
  if (first == ids->end() || !tokenizer_->IsSpecial(*first)) return {};
  return {*first};
}

}  // namespace ternion
