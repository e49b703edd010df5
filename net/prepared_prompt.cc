#include "net/prepared_prompt.h"

#include <algorithm>
#include <random>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/status.h"
#include "net/http_error.h"
#include "net/openai_constraint.h"

namespace ternion {
namespace {

uint64_t DrawSeed() {
  std::random_device device;
  return (uint64_t{device()} << 32) | device();
}

absl::StatusOr<PreparedPrompt> Prepare(const OpenAiRequest& request, const ModelService& model,
                                       std::string_view param, std::vector<int32_t> ids) {
  const int64_t context = model.generator->max_model_len();
  const int64_t length = static_cast<int64_t>(ids.size());
  if (ids.empty()) return ParamError(param, "gives no token; it must give at least one");
  if (length > context) {
    return ParamError(param, absl::StrCat("has ", length, " tokens; the model's context holds ", context));
  }
  PreparedPrompt prepared;
  GenerateRequest& to = prepared.request;
  to.prompt = std::move(ids);
  prepared.echo.alone = request.max_tokens == 0;
  // A prompt that fills the context still has one next token.
  to.max_tokens =
      std::clamp<int64_t>(request.max_tokens.value_or(context), 1, std::max<int64_t>(1, context - length));
  to.sampling = request.sampling;
  to.ignore_eos = request.ignore_eos;
  to.stop_ids = request.stop_token_ids;
  to.logit_bias = request.logit_bias;
  to.min_tokens = request.min_tokens;
  to.logprobs = prepared.echo.alone ? -1 : request.logprobs;
  to.priority = request.priority;
  return prepared;
}

std::string TextOf(const Tokenizer& tokenizer, const std::vector<int32_t>& ids) {
  CompletionText text(tokenizer, {});
  std::string shown;
  for (const int32_t id : ids) shown += text.Push(id);
  return shown + text.Finish();
}

absl::Status CheckIds(const OpenAiRequest& request, int64_t vocab) {
  const auto refuse = [vocab](std::string_view param, int32_t id) {
    return ParamError(param, absl::StrCat("token id ", id, " is outside the vocabulary of ", vocab));
  };
  for (const int32_t id : request.stop_token_ids) {
    if (id >= vocab) return refuse("stop_token_ids", id);
  }
  for (const auto& [id, bias] : request.logit_bias) {
    if (id >= vocab) return refuse("logit_bias", id);
  }
  return absl::OkStatus();
}

absl::StatusOr<PreparedPrompt> PrepareCompletion(const OpenAiRequest& request, const ModelService& model,
                                                 const PromptInput& input) {
  const std::string* text = std::get_if<std::string>(&input);
  absl::StatusOr<std::vector<int32_t>> ids = text != nullptr
                                                 ? model.tokenizer->Encode(*text, /*add_special=*/true)
                                                 : std::get<std::vector<int32_t>>(input);
  if (!ids.ok()) return BlameParam("prompt", ids.status());
  TERNION_ASSIGN_OR_RETURN(PreparedPrompt prepared, Prepare(request, model, "prompt", *std::move(ids)));
  if (!request.echo) return prepared;
  prepared.echo.text = text != nullptr ? *text : TextOf(*model.tokenizer, prepared.request.prompt);
  if (request.logprobs < 0) return prepared;
  prepared.echo.told = prepared.request.prompt;
  prepared.request.prompt_logprobs = request.logprobs;
  return prepared;
}

absl::StatusOr<PreparedPrompt> PrepareChat(const OpenAiRequest& request, const ModelService& model) {
  TERNION_ASSIGN_OR_RETURN(std::vector<int32_t> ids, EncodeChat(request, model));
  TERNION_ASSIGN_OR_RETURN(PreparedPrompt prepared, Prepare(request, model, "messages", std::move(ids)));
  if (!request.ignore_eos) {
    std::vector<int32_t>& stop_ids = prepared.request.stop_ids;
    stop_ids.insert(stop_ids.end(), model.chat->end_of_turn().begin(), model.chat->end_of_turn().end());
  }
  return prepared;
}

// The prompt's n choices differ in their seeds alone.
void AddChoices(const OpenAiRequest& request, PreparedPrompt prompt, std::vector<PreparedPrompt>& choices) {
  for (int64_t i = 0; i < request.n; ++i) {
    PreparedPrompt choice = prompt;
    SamplingParams& sampling = choice.request.sampling;
    sampling.seed = request.seed.has_value() ? *request.seed + static_cast<uint64_t>(i) : DrawSeed();
    choice.counts_prompt = i == 0;
    choices.push_back(std::move(choice));
  }
}

}  // namespace

absl::StatusOr<std::vector<int32_t>> EncodeChat(const OpenAiRequest& request, const ModelService& model) {
  if (model.chat == nullptr) {
    const std::string reason = model.chat_refusal.empty() ? "it has no chat template" : model.chat_refusal;
    return absl::FailedPreconditionError(
        absl::StrCat("the model cannot chat: ", reason, "; use /v1/completions"));
  }
  auto ids = model.chat->Apply(request.messages, request.add_generation_prompt, request.chat_template_kwargs);
  if (!ids.ok()) return BlameParam("messages", ids.status());
  return ids;
}

absl::StatusOr<std::vector<PreparedPrompt>> PreparePrompts(const OpenAiRequest& request,
                                                           const ModelService& model) {
  TERNION_RETURN_IF_ERROR(CheckIds(request, model.tokenizer->vocab_size()));
  TERNION_ASSIGN_OR_RETURN(const std::shared_ptr<Constraint> constraint, ConstraintOf(request, model));
  std::vector<PreparedPrompt> prepared;
  if (request.endpoint == Endpoint::kChat) {
    TERNION_ASSIGN_OR_RETURN(PreparedPrompt prompt, PrepareChat(request, model));
    AddChoices(request, std::move(prompt), prepared);
  }
  for (const PromptInput& input : request.prompts) {
    TERNION_ASSIGN_OR_RETURN(PreparedPrompt prompt, PrepareCompletion(request, model, input));
    AddChoices(request, std::move(prompt), prepared);
  }
  for (PreparedPrompt& choice : prepared) {
    if (!choice.echo.alone) choice.request.constraint = constraint;
  }
  return prepared;
}

}  // namespace ternion
