#include "net/openai_sampling.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

#include "absl/strings/str_cat.h"

namespace ternion {
namespace {

using nlohmann::json;

constexpr double kMostPenalty = 2, kMostBias = 100;
constexpr float kNoLimit = std::numeric_limits<float>::max();

void ReadFloat(FieldReader& reader, std::string_view name, double least, double most, float* target) {
  double value = *target;
  reader.Read(name, least, most, &value);
  *target = static_cast<float>(value);
}

// Greater than 0, as a float too.
void ReadPositive(FieldReader& reader, std::string_view name, float most, float* target) {
  const json* value = reader.Find(name);
  if (value == nullptr) return;
  const double number = value->is_number() ? value->get<double>() : 0;
  *target = number <= static_cast<double>(most) ? static_cast<float>(number) : 0;
  if (*target > 0) return;
  reader.Fail(name, absl::StrCat("must be a number greater than 0",
                                 most < kNoLimit ? absl::StrCat(" and not greater than ", most) : ""));
}

// The bits of any 64-bit integer, signed or not.
void ReadSeed(FieldReader& reader, std::optional<uint64_t>* seed) {
  const json* value = reader.Find("seed");
  if (value == nullptr) return;
  if (!value->is_number_integer()) return reader.Fail("seed", "must be a 64-bit integer");
  *seed = value->is_number_unsigned() ? value->get<uint64_t>() : static_cast<uint64_t>(value->get<int64_t>());
}

// An id as JSON's keys spell it: digits, none too many.
std::optional<int32_t> IdFromKey(const std::string& key) {
  int32_t id = -1;
  const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
  if (error != std::errc() || id < 0 || absl::StrCat(id) != key) return std::nullopt;
  return id;
}

void ReadLogitBias(FieldReader& reader, OpenAiRequest* request) {
  const json* value = reader.Find("logit_bias");
  if (value == nullptr) return;
  if (!value->is_object()) return reader.Fail("logit_bias", "must be an object of token ids and numbers");
  for (const auto& [key, bias] : value->items()) {
    const std::optional<int32_t> id = IdFromKey(key);
    if (!id.has_value())
      return reader.Fail("logit_bias", "must have token ids as keys: integers of at least 0");
    if (!bias.is_number() || std::abs(bias.get<double>()) > kMostBias) {
      return reader.Fail("logit_bias", absl::StrCat("must have numbers from ", -kMostBias, " to ", kMostBias,
                                                    " as values; that of token ", *id, " is none"));
    }
    request->logit_bias.emplace_back(*id, bias.get<float>());
  }
}

void ReadMinTokens(FieldReader& reader, OpenAiRequest* request) {
  reader.Read("min_tokens", 0, std::numeric_limits<int64_t>::max(), &request->min_tokens);
  if (request->min_tokens > request->max_tokens.value_or(request->min_tokens)) {
    reader.Fail("min_tokens",
                absl::StrCat("must not be greater than max_tokens, which is ", *request->max_tokens));
  }
}

}  // namespace

void ReadSampling(FieldReader& reader, OpenAiRequest* request) {
  SamplingParams& sampling = request->sampling;
  int64_t top_k = 0, priority = 0;
  ReadFloat(reader, "temperature", 0, 2, &sampling.temperature);
  ReadPositive(reader, "top_p", 1, &sampling.top_p);
  reader.Read("top_k", -1, std::numeric_limits<int32_t>::max(), &top_k);
  sampling.top_k = static_cast<int32_t>(top_k < 0 ? 0 : top_k);
  ReadFloat(reader, "min_p", 0, 1, &sampling.min_p);
  ReadPositive(reader, "repetition_penalty", kNoLimit, &sampling.repetition_penalty);
  ReadFloat(reader, "presence_penalty", -kMostPenalty, kMostPenalty, &sampling.presence_penalty);
  ReadFloat(reader, "frequency_penalty", -kMostPenalty, kMostPenalty, &sampling.frequency_penalty);
  ReadLogitBias(reader, request);
  ReadSeed(reader, &request->seed);
  ReadMinTokens(reader, request);
  reader.Read("stop_token_ids", &request->stop_token_ids);
  reader.Read("ignore_eos", &request->ignore_eos);
  reader.Read("priority", std::numeric_limits<int32_t>::min(), std::numeric_limits<int32_t>::max(),
              &priority);
  request->priority = static_cast<int32_t>(priority);
}

void ReadLogprobs(FieldReader& reader, OpenAiRequest* request) {
  int64_t most = -1;
  if (request->endpoint == Endpoint::kChat) {
    bool logprobs = false;
    reader.Read("logprobs", &logprobs);
    reader.Read("top_logprobs", 0, kMostLogprobs, &most);
    if (most > 0 && !logprobs) reader.Fail("top_logprobs", "needs \"logprobs\": true");
    most = logprobs ? std::max<int64_t>(most, 0) : -1;
  } else {
    reader.Read("logprobs", 0, kMostLogprobs, &most);
    if (reader.Find("top_logprobs") != nullptr) {
      reader.FailUnsupported("top_logprobs", "is chat's; at /v1/completions \"logprobs\" is the number");
    }
  }
  request->logprobs = static_cast<int32_t>(most);
}

}  // namespace ternion
