#include "runtime/text/word_split.h"

namespace ternion {

void WordSplit::Take(std::string_view piece, bool is_match) {
  if (behavior_ == SplitBehavior::kRemoved && is_match) return;
  if (words_.size() > first_ && JoinsLast(is_match)) {
    words_.back() = {words_.back().data(), words_.back().size() + piece.size()};
  } else {
    words_.push_back(piece);
  }
  last_was_match_ = is_match;
}

bool WordSplit::JoinsLast(bool is_match) const {
  switch (behavior_) {
    case SplitBehavior::kMergedWithPrevious:
      return is_match && !last_was_match_;
    case SplitBehavior::kMergedWithNext:
      return !is_match && last_was_match_;
    case SplitBehavior::kContiguous:
      return is_match == last_was_match_;
    default:
      return false;
  }
}

}  // namespace ternion
