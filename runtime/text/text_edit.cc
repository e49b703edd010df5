#include "runtime/text/text_edit.h"

#include <algorithm>

namespace ternion {
namespace {

// Goes through the edits once, for places that never go back.
class EditCursor {
 public:
  explicit EditCursor(absl::Span<const TextEdit> edits) : edits_(edits) {}

  size_t Begin(size_t old_place) {
    SkipTo(old_place, /*with_insertions=*/true);
    return Inside(old_place) ? Moved(edits_[next_].at) : Moved(old_place);
  }

  size_t End(size_t old_place) {
    SkipTo(old_place, /*with_insertions=*/false);
    return Inside(old_place) ? Moved(edits_[next_].at) + edits_[next_].new_bytes : Moved(old_place);
  }

 private:
  void SkipTo(size_t old_place, bool with_insertions) {
    for (; next_ < edits_.size(); ++next_) {
      const TextEdit& edit = edits_[next_];
      if (edit.at + edit.old_bytes > old_place) return;
      if (edit.at == old_place && !with_insertions) return;
      added_ += edit.new_bytes;
      removed_ += edit.old_bytes;
    }
  }

  bool Inside(size_t old_place) const { return next_ < edits_.size() && edits_[next_].at < old_place; }
  size_t Moved(size_t old_place) const { return old_place + added_ - removed_; }

  absl::Span<const TextEdit> edits_;
  size_t next_ = 0;
  size_t added_ = 0;  // by the edits before next_
  size_t removed_ = 0;
};

}  // namespace

std::vector<TextRange> MoveRanges(absl::Span<const TextRange> ranges, absl::Span<const TextEdit> edits) {
  EditCursor begins(edits);
  EditCursor ends(edits);
  std::vector<TextRange> moved;
  for (const TextRange& range : ranges) {
    const TextRange to = {begins.Begin(range.begin), ends.End(range.end)};
    if (to.begin >= to.end) continue;
    if (!moved.empty() && moved.back().end >= to.begin) {
      moved.back().end = std::max(moved.back().end, to.end);
    } else {
      moved.push_back(to);
    }
  }
  return moved;
}

std::vector<TextRange> RangesWithin(absl::Span<const TextRange> ranges, TextRange part) {
  auto next = std::partition_point(ranges.begin(), ranges.end(),
                                   [&](const TextRange& range) { return range.end <= part.begin; });
  std::vector<TextRange> within;
  for (; next != ranges.end() && next->begin < part.end; ++next) {
    within.push_back(
        {std::max(next->begin, part.begin) - part.begin, std::min(next->end, part.end) - part.begin});
  }
  return within;
}

}  // namespace ternion
