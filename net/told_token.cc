#include "net/told_token.h"

#include "kernels/check.h"
#include "runtime/text/completion_text.h"

namespace ternion {

ToldToken Tell(const Tokenizer& tokenizer, int32_t id, int64_t offset, const TokenLogprobs& logprobs) {
  ToldToken told{std::string(tokenizer.TokenBytes(id)), offset, logprobs.logprob, {}};
  for (const auto& [likely, logprob] : logprobs.top) {
    told.likeliest.emplace_back(tokenizer.TokenBytes(likely), logprob);
  }
  return told;
}

std::vector<ToldToken> TellPrompt(const Tokenizer& tokenizer, absl::Span<const int32_t> ids,
                                  absl::Span<const TokenLogprobs> logprobs) {
  CHECK(ids.size() == logprobs.size() + 1, "the engine tells of every token but the first");
  CompletionText text(tokenizer, {});
  std::vector<ToldToken> told;
  for (size_t i = 0; i < ids.size(); ++i) {
    const int64_t offset = text.characters();
    if (i == 0) {
      told.push_back({std::string(tokenizer.TokenBytes(ids[i])), offset, std::nullopt, {}});
    } else {
      told.push_back(Tell(tokenizer, ids[i], offset, logprobs[i - 1]));
    }
    text.Push(ids[i]);
  }
  return told;
}

}  // namespace ternion
