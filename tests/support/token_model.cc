#include "tests/support/token_model.h"

#include <algorithm>

#include "kernels/check.h"

namespace ternion {
namespace {

uint64_t Extend(uint64_t hash, int32_t token) {
  hash = (hash ^ static_cast<uint64_t>(token)) * 0x9E3779B97F4A7C15;
  return hash ^ (hash >> 29);
}

uint64_t HashOf(absl::Span<const int32_t> tokens) {
  uint64_t hash = 1;
  for (const int32_t token : tokens) hash = Extend(hash, token);
  return hash;
}

}  // namespace

int32_t TokenModel::Next(absl::Span<const int32_t> tokens) const {
  return 3 + static_cast<int32_t>(HashOf(tokens) % static_cast<uint64_t>(vocab_ - 3));
}

StepResult TokenModel::Run(const StepPlan& plan) {
  for (const BlockCopy& copy : plan.copies) Copy(copy);
  StepResult result;
  result.step = plan.step;
  std::vector<int32_t> draws;
  for (const StepSequence& sequence : plan.sequences) {
    std::vector<int32_t>& tokens = sequences_.at(sequence.id);
    const int64_t end = sequence.position + static_cast<int64_t>(sequence.tokens.size());
    // A drawn token that its sequence knows already may be computed again.
    for (int64_t p = sequence.position; p < end; ++p) {
      int32_t token = sequence.tokens[p - sequence.position];
      if (token < 0) token = last_draws_.at(~token);
      if (p == static_cast<int64_t>(tokens.size())) tokens.push_back(token);
      CHECK(tokens.at(p) == token, "a plan holds its sequence's tokens");
    }
    RunSequence(plan.step, sequence, tokens);
    if (!sequence.asks()) continue;
    SequenceResult& answer = result.sequences.emplace_back();
    answer.id = sequence.id;
    answer.negative_log_likelihood = static_cast<double>(sequence.targets.size());
    if (!sequence.scores()) answer.prompt_logprobs.resize(sequence.targets.size());
    if (!sequence.sample) continue;
    answer.token = Next(absl::MakeConstSpan(tokens).first(end));
    draws.push_back(answer.token);
  }
  last_draws_ = std::move(draws);
  return result;
}

void TokenModel::Copy(const BlockCopy& copy) { cells_.at(copy.to) = cells_.at(copy.from); }

void TokenModel::RunSequence(uint64_t step, const StepSequence& sequence,
                             const std::vector<int32_t>& tokens) {
  uint64_t hash = 1;
  const int64_t end = sequence.position + static_cast<int64_t>(sequence.tokens.size());
  for (int64_t p = 0; p < end; ++p) {
    hash = Extend(hash, tokens[p]);
    Cell& cell = At(sequence, p);
    if (p >= sequence.position) {
      cell = {hash, step, sequence.id};
    } else if (cell.beginning != hash || (cell.step == step && cell.writer != sequence.id)) {
      ++wrong_reads_;
    }
  }
  tokens_run_ += static_cast<int64_t>(sequence.tokens.size());
}

TokenModel::Cell& TokenModel::At(const StepSequence& sequence, int64_t position) {
  const int32_t block = sequence.block_table.at(position / kKvBlockTokens);
  return cells_.at(block)[position % kKvBlockTokens];
}

}  // namespace ternion
