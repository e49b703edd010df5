#pragma once

#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "runtime/serving/request.h"

namespace ternion {

// A request of random traffic, and what its client does with it.
struct TrafficRequest {
  GenerateRequest request;
  int64_t pause_us = 0;  // before it is sent
  // Cancelled by its own sink with this token; -1: not.
  int64_t cancel_after = -1;
  // Cancelled from outside so long after it was sent; -1: not.
  int64_t cancel_us = -1;
  // Its deadline, so long after it was sent; -1: none.
  int64_t deadline_us = -1;

  bool may_end_early() const { return cancel_after >= 0 || cancel_us >= 0 || deadline_us >= 0; }
};

// Prompts that begin alike up to anywhere in a block, several choices of one prompt, mixed lengths, priorities, sampling
// and scoring. At most `longest` prompt tokens, `generated` generated ones; ids in [3, vocab).
class RandomTraffic {
 public:
  RandomTraffic(uint32_t seed, int64_t vocab, int64_t longest, int64_t generated);

  std::vector<TrafficRequest> Make(int64_t count);

 private:
  int64_t Uniform(int64_t least, int64_t most);
  bool Chance(double probability) { return std::bernoulli_distribution(probability)(random_); }
  std::vector<int32_t> Tokens(int64_t count);
  std::vector<int32_t> Prompt();
  TrafficRequest Request();
  void Sample(GenerateRequest& request);

  std::mt19937 random_;
  int64_t vocab_;
  int64_t longest_;
  int64_t generated_;
  std::vector<std::vector<int32_t>> beginnings_;
};

}  // namespace ternion
