#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/text/jinja/render_state.h"
#include "runtime/text/jinja/text.h"
#include "runtime/text/jinja/value.h"

namespace ternion::jinja {

// Python's string methods, on text that knows where its bytes come from. What makes more text than it is given spends
// it first; indices count characters.

enum class Side : uint8_t { kLeft, kRight, kBoth };

// `characters`: those to take off; null: white space.
Text Strip(const Text& text, const Text* characters, Side side);

// `separator` null: runs of white space. At most `most` cuts from the left, or from the right; -1: all.
// kInvalidArgument: an empty separator.
absl::StatusOr<std::vector<Value>> Split(RenderState& state, const Text& text, const Text* separator,
                                         int64_t most, bool from_right);

// At most `most` times; -1: everywhere.
absl::StatusOr<Text> Replace(RenderState& state, const Text& text, const Text& old, const Text& replacement,
                             int64_t most);
absl::StatusOr<Text> Join(RenderState& state, const Text& separator, const std::vector<Text>& parts);
absl::StatusOr<Text> Repeat(RenderState& state, const Text& text, int64_t times);

// Up to `width` characters, with `fill` at the sides; both sides: as str.center.
absl::StatusOr<Text> Pad(RenderState& state, const Text& text, int64_t width, const Text& fill, Side side);

// What a Python slice [start:stop:step] takes of `length` items: `count` of them, from `first`, each `step` further.
// Absent ends are the sequence's. kInvalidArgument: a step of 0.
struct SliceRange {
  int64_t first;
  int64_t count;
  int64_t step;
};
absl::StatusOr<SliceRange> RangeOfSlice(int64_t length, std::optional<int64_t> start,
                                        std::optional<int64_t> stop, std::optional<int64_t> step);
absl::StatusOr<Text> SliceText(RenderState& state, const Text& text, std::optional<int64_t> start,
                               std::optional<int64_t> stop, std::optional<int64_t> step);

}  // namespace ternion::jinja
