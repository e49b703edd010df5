#include "tests/support/random_traffic.h"

#include <algorithm>

#include "kernels/kv.h"

namespace ternion {

RandomTraffic::RandomTraffic(uint32_t seed, int64_t vocab, int64_t longest, int64_t generated)
    : random_(seed), vocab_(vocab), longest_(longest), generated_(generated) {
  for (int i = 0; i < 4; ++i) beginnings_.push_back(Tokens(longest));
}

std::vector<TrafficRequest> RandomTraffic::Make(int64_t count) {
  std::vector<TrafficRequest> requests;
  while (static_cast<int64_t>(requests.size()) < count) {
    TrafficRequest request = Request();
    const bool one = !request.request.score_targets.empty() || Chance(0.8);
    const int64_t choices = one ? 1 : Uniform(2, 4);
    for (int64_t i = 0; i < choices && static_cast<int64_t>(requests.size()) < count; ++i) {
      requests.push_back(request);
      ++request.request.sampling.seed;
      request.pause_us = 0;
    }
  }
  return requests;
}

TrafficRequest RandomTraffic::Request() {
  TrafficRequest traffic;
  GenerateRequest& request = traffic.request;
  request.prompt = Prompt();
  request.max_tokens = Uniform(1, Chance(0.5) ? std::min<int64_t>(generated_, 12) : generated_);
  request.hash_logits = Chance(0.3);
  request.priority = static_cast<int32_t>(Chance(0.5) ? 0 : Uniform(-1, 1));
  if (Chance(0.6)) Sample(request);
  if (Chance(0.15)) request.logprobs = static_cast<int32_t>(Uniform(0, 3));
  if (Chance(0.1)) request.prompt_logprobs = static_cast<int32_t>(Uniform(0, 3));
  if (Chance(0.05)) {
    request.score_targets = Tokens(static_cast<int64_t>(request.prompt.size()));
    request.hash_logits = false;
    request.prompt_logprobs = -1;
  }
  if (Chance(0.4)) traffic.pause_us = Uniform(1, 500);
  if (Chance(0.1)) traffic.cancel_after = Uniform(0, request.max_tokens - 1);
  if (Chance(0.1)) traffic.cancel_us = Uniform(0, 5000);
  if (Chance(0.03)) traffic.deadline_us = Uniform(0, 10000);
  return traffic;
}

void RandomTraffic::Sample(GenerateRequest& request) {
  SamplingParams& sampling = request.sampling;
  sampling.temperature = 1.0f;
  sampling.top_k = Chance(0.5) ? 0 : 40;
  sampling.top_p = 0.95f;
  sampling.min_p = Chance(0.2) ? 0.01f : 0.0f;
  sampling.seed = static_cast<uint64_t>(Uniform(0, 1000));
  if (Chance(0.2)) sampling.repetition_penalty = 1.3f;
  if (Chance(0.2)) sampling.frequency_penalty = 0.5f;
  if (Chance(0.2)) request.logit_bias = {{static_cast<int32_t>(Uniform(3, vocab_ - 1)), 4.0f}};
  if (Chance(0.2)) request.min_tokens = Uniform(1, 5);
}

// A shared beginning, its end often near a block's border, and tokens of its own.
std::vector<int32_t> RandomTraffic::Prompt() {
  const std::vector<int32_t>& beginning =
      beginnings_[static_cast<size_t>(Uniform(0, static_cast<int64_t>(beginnings_.size()) - 1))];
  const int64_t own = Chance(0.5) ? 0 : Uniform(1, 30);
  int64_t shared = Uniform(1, longest_ - own);
  if (Chance(0.5)) {
    const int64_t border = Uniform(1, longest_ / kKvBlockTokens) * kKvBlockTokens;
    shared = std::clamp<int64_t>(border + Uniform(-1, 1), 1, longest_ - own);
  }
  std::vector<int32_t> prompt(beginning.begin(), beginning.begin() + shared);
  const std::vector<int32_t> rest = Tokens(own);
  prompt.insert(prompt.end(), rest.begin(), rest.end());
  return prompt;
}

std::vector<int32_t> RandomTraffic::Tokens(int64_t count) {
  std::vector<int32_t> tokens(static_cast<size_t>(count));
  for (int32_t& token : tokens) token = static_cast<int32_t>(Uniform(3, vocab_ - 1));
  return tokens;
}

int64_t RandomTraffic::Uniform(int64_t least, int64_t most) {
  return std::uniform_int_distribution<int64_t>(least, most)(random_);
}

}  // namespace ternion
