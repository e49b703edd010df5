#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <vector>

#include "absl/types/span.h"
#include "kernels/kv.h"
#include "runtime/serving/step_plan.h"

namespace ternion {

// A model for the scheduler's tests: a token depends on all tokens before it, and the cache holds for each position what it
// was computed from, so that a plan that reads what is not there, or not yet, is found out.
class TokenModel {
 public:
  explicit TokenModel(int64_t blocks, int32_t vocab = 100) : vocab_(vocab), cells_(blocks) {}

  // What follows `tokens`; 3 at least.
  int32_t Next(absl::Span<const int32_t> tokens) const;
  // Of a sequence that plans will hold; ids ascend from 1.
  void Expect(uint64_t id, std::vector<int32_t> prompt) { sequences_[id] = std::move(prompt); }

  // Plans run in their order. Scores 1 for every target, tells as many log-probabilities.
  StepResult Run(const StepPlan& plan);

  // Positions that were read and did not hold the sequence's tokens, or got them in the same step from another sequence.
  int64_t wrong_reads() const { return wrong_reads_; }
  int64_t tokens_run() const { return tokens_run_; }

 private:
  struct Cell {
    uint64_t beginning = 0;  // a hash of the tokens up to here
    uint64_t step = 0;       // that wrote it
    uint64_t writer = 0;     // the sequence that did
  };
  void Copy(const BlockCopy& copy);
  void RunSequence(uint64_t step, const StepSequence& sequence, const std::vector<int32_t>& tokens);
  Cell& At(const StepSequence& sequence, int64_t position);

  int32_t vocab_;
  std::vector<std::array<Cell, kKvBlockTokens>> cells_;
  std::map<uint64_t, std::vector<int32_t>> sequences_;
  std::vector<int32_t> last_draws_;
  int64_t wrong_reads_ = 0;
  int64_t tokens_run_ = 0;
};

}  // namespace ternion
