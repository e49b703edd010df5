#pragma once

#include <chrono>
#include <cstdint>
#include <vector>

namespace ternion {

// How long after a request's token the next one came; counted together where it is as long.
class TokenGaps {
 public:
  struct Gap {
    std::chrono::nanoseconds length;
    int64_t tokens;
  };

  // Gaps of one step are mostly equal, and come one after the other.
  void Add(std::chrono::nanoseconds length) {
    if (gaps_.empty() || gaps_.back().length != length) gaps_.push_back({length, 0});
    ++gaps_.back().tokens;
  }
  const std::vector<Gap>& gaps() const { return gaps_; }
  void Clear() { gaps_.clear(); }

 private:
  std::vector<Gap> gaps_;
};

}  // namespace ternion
