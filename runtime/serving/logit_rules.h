#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "absl/types/span.h"
#include "kernels/backend.h"
#include "runtime/serving/request.h"

namespace ternion {

// What a request does to the logits that its tokens are drawn from: logit_bias, penalties of tokens that have been seen, and
// min_tokens' ban of those that would end it. Kept token by token, so that a step costs no more than a copy.
class LogitRules {
 public:
  LogitRules() = default;  // none
  // eos_ids: of the model.
  LogitRules(const GenerateRequest& request, absl::Span<const int32_t> eos_ids);

  // A token was generated.
  void Add(int32_t token);
  // For the draw of generated token `index`, the first being 0; of a column one at most.
  std::vector<LogitChange> ChangesOf(int64_t index) const;
  // Whether ChangesOf(index) depends on which tokens came before.
  bool depends_on_tokens() const { return repetition_ != 1 || presence_ != 0 || frequency_ != 0; }

 private:
  struct Entry {
    LogitChange change;
    int32_t generated = 0;  // how often the column was
    bool ends = false;      // banned while there are fewer than min_tokens_
  };
  Entry& EntryOf(int32_t column);

  float repetition_ = 1;
  float presence_ = 0;
  float frequency_ = 0;
  int64_t min_tokens_ = 0;
  std::vector<Entry> entries_;
  std::unordered_map<int32_t, size_t> places_;  // of columns in entries_
};

}  // namespace ternion
