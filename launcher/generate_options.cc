#include "launcher/generate_options.h"

#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "kernels/status.h"

namespace ternion {
namespace {

// "7:2.5,9:-100"
absl::StatusOr<std::vector<std::pair<int32_t, float>>> ParseLogitBias(const std::string& text) {
  std::vector<std::pair<int32_t, float>> biases;
  for (absl::string_view field : absl::StrSplit(text, ',')) {
    const std::pair<absl::string_view, absl::string_view> parts =
        absl::StrSplit(field, absl::MaxSplits(':', 1));
    int32_t id = 0;
    float bias = 0;
    if (!absl::SimpleAtoi(parts.first, &id) || !absl::SimpleAtof(parts.second, &bias)) {
      return absl::InvalidArgumentError(
          absl::StrCat("--logit-bias: '", field, "' is not ID:BIAS; write 7:2.5,9:-100"));
    }
    biases.emplace_back(id, bias);
  }
  return biases;
}

// A text that is whole ends, whatever `others` say.
void AddConstraintOptions(CLI::App& command, GenerateOptions& options, std::vector<CLI::Option*> others) {
  others.push_back(AddOption(command, "--json-schema", options.json_schema,
                             "file with a JSON Schema, as the server takes it: the text is JSON of it")
                       ->type_name("FILE"));
  CLI::Option* const object =
      command.add_flag("--json-object", options.json_object, "the text is a JSON object");
  for (CLI::Option* const other : others) object->excludes(other);
  for (size_t i = 0; i + 1 < others.size(); ++i) others.back()->excludes(others[i]);
}

void AddSamplingOptions(CLI::App& command, SamplingParams& sampling) {
  AddOption(command, "--temperature", sampling.temperature, "0: always the likeliest token")
      ->check(CLI::NonNegativeNumber);
  AddOption(command, "--top-k", sampling.top_k, "draw from the k likeliest; 0: from all")
      ->check(CLI::NonNegativeNumber);
  AddOption(command, "--top-p", sampling.top_p, "draw from the likeliest that make up this share")
      ->check(CLI::Range(1e-6, 1.0));
  AddOption(command, "--min-p", sampling.min_p,
            "draw from those that have this share of the likeliest one's probability")
      ->check(CLI::Range(0.0, 1.0));
  AddOption(
      command, "--repetition-penalty", sampling.repetition_penalty,
      "divides the logits of tokens of prompt and answer that are positive, multiplies the others; 1: none")
      ->check(CLI::PositiveNumber);
  AddOption(command, "--presence-penalty", sampling.presence_penalty,
            "subtracted from the logits of tokens of the answer")
      ->check(CLI::Range(-2.0, 2.0));
  AddOption(command, "--frequency-penalty", sampling.frequency_penalty,
            "the same for each time that the token came")
      ->check(CLI::Range(-2.0, 2.0));
  AddOption(command, "--seed", sampling.seed, "of the random draws");
}

}  // namespace

void AddGenerateOptions(CLI::App& command, GenerateOptions& options) {
  AddJobOptions(command, options.job);
  AddTraceOption(command, options.job);
  AddOption(command, "-p,--prompt", options.prompt, "the prompt");
  AddOption(command, "--prompt-file", options.prompt_file, "a file that holds the prompt");
  AddOption(command, "--ids", options.ids, "the prompt as token ids: 1,2,3");
  AddOption(command, "--max-tokens", options.max_tokens, "most tokens to generate")
      ->check(CLI::PositiveNumber);
  AddSamplingOptions(command, options.sampling);
  AddOption(command, "--logit-bias", options.logit_bias, "added to the logits of tokens: 7:2.5,9:-100");
  CLI::Option* const least =
      AddOption(command, "--min-tokens", options.min_tokens, "no token that ends the answer before so many")
          ->check(CLI::NonNegativeNumber);
  CLI::Option* const goes_on =
      command.add_flag("--ignore-eos", options.ignore_eos, "go on after an end-of-sequence token");
  AddConstraintOptions(command, options, {least, goes_on});
  command.add_option("--stop", options.stop, "text that ends the generation; may be given several times");
  AddOption(command, "--stop-token-ids", options.stop_token_ids, "tokens that end the generation: 1,2,3");
  CLI::Option* const json = command.add_flag("--json", options.json, "print one JSON object at the end");
  command
      .add_option("--logprobs", options.logprobs,
                  "tell log-probabilities: of each token, and of so many of the likeliest")
      ->check(CLI::Range(0, kMostLogprobs))
      ->needs(json);
}

absl::StatusOr<std::vector<int32_t>> ParseIds(std::string_view option, const std::string& text) {
  std::vector<int32_t> ids;
  for (absl::string_view field : absl::StrSplit(text, ',')) {
    int32_t id = 0;
    if (!absl::SimpleAtoi(field, &id)) {
      return absl::InvalidArgumentError(
          absl::StrCat(ToAbsl(option), ": '", field, "' is no token id; write 1,2,3"));
    }
    ids.push_back(id);
  }
  return ids;
}

absl::StatusOr<GenerateRequest> RequestOf(const GenerateOptions& options) {
  GenerateRequest request;
  request.max_tokens = options.max_tokens;
  request.sampling = options.sampling;
  request.ignore_eos = options.ignore_eos;
  request.min_tokens = options.min_tokens;
  request.logprobs = options.logprobs;
  request.hash_logits = options.json;
  if (options.min_tokens > options.max_tokens) {
    return absl::InvalidArgumentError(
        absl::StrCat("--min-tokens ", options.min_tokens, " is over --max-tokens ", options.max_tokens));
  }
  if (!options.logit_bias.empty()) {
    TERNION_ASSIGN_OR_RETURN(request.logit_bias, ParseLogitBias(options.logit_bias));
  }
  if (!options.stop_token_ids.empty()) {
    TERNION_ASSIGN_OR_RETURN(request.stop_ids, ParseIds("--stop-token-ids", options.stop_token_ids));
  }
  return request;
}

}  // namespace ternion
