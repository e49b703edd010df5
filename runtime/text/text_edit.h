#pragma once

#include <cstddef>
#include <vector>

#include "absl/types/span.h"
#include "runtime/text/text_range.h"

namespace ternion {

// What a rewriting did to a text at one place: these bytes of the old text became those many of the new one.
struct TextEdit {
  size_t at;  // in the old text
  size_t old_bytes;
  size_t new_bytes;
};

// Where bytes of the old text stand in the new one. Both arguments are in order and apart, and so is the result. An edit that
// a range shares a byte with belongs to the range as a whole; nothing inserted beside a range does.
std::vector<TextRange> MoveRanges(absl::Span<const TextRange> ranges, absl::Span<const TextEdit> edits);

// The parts of ranges that lie in `part`, counted from its beginning.
std::vector<TextRange> RangesWithin(absl::Span<const TextRange> ranges, TextRange part);

}  // namespace ternion
