#include "runtime/text/jinja/text_operations.h"

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <string>
#include <utility>

#include "kernels/status.h"
#include "runtime/text/jinja/characters.h"
#include "runtime/text/jinja/compare.h"
#include "runtime/text/utf8.h"

namespace ternion::jinja {
namespace {

constexpr size_t kNowhere = std::string::npos;

bool IsOneOf(std::string_view character, const Text* characters) {
  if (characters == nullptr) return IsSpace(FirstCodePoint(character));
  return characters->bytes().find(character) != kNowhere;
}

// Where the parts lie that separators cut `text` into, from the left.
std::vector<TextRange> CutAt(std::string_view text, std::string_view separator, int64_t most) {
  std::vector<TextRange> parts;
  size_t begin = 0;
  for (size_t at = text.find(separator); at != kNowhere && most != 0;
       at = text.find(separator, begin), --most) {
    parts.push_back({begin, at});
    begin = at + separator.size();
  }
  parts.push_back({begin, text.size()});
  return parts;
}

// The same from the right, the last part first.
std::vector<TextRange> CutAtFromRight(std::string_view text, std::string_view separator, int64_t most) {
  std::vector<TextRange> parts;
  size_t end = text.size();
  while (most != 0 && end >= separator.size()) {
    const size_t at = text.rfind(separator, end - separator.size());
    if (at == kNowhere) break;
    parts.push_back({at + separator.size(), end});
    end = at;
    --most;
  }
  parts.push_back({0, end});
  return parts;
}

std::vector<TextRange> CutAtSpace(std::string_view text, int64_t most) {
  std::vector<TextRange> parts;
  size_t at = LeadingSpace(text);
  for (; at < text.size() && most != 0; --most) {
    const size_t begin = at;
    while (at < text.size() && !IsSpace(FirstCodePoint(text.substr(at))))
      at += FirstUtf8(text.substr(at)).bytes;
    parts.push_back({begin, at});
    at += LeadingSpace(text.substr(at));
  }
  if (at < text.size()) parts.push_back({at, text.size()});
  return parts;
}

std::vector<TextRange> CutAtSpaceFromRight(std::string_view text, int64_t most) {
  std::vector<TextRange> parts;
  size_t end = text.size() - TrailingSpace(text);
  for (; end > 0 && most != 0; --most) {
    size_t begin = end;
    while (begin > 0) {
      const size_t last = LastCharacter(text.substr(0, begin));
      if (IsSpace(FirstCodePoint(text.substr(last)))) break;
      begin = last;
    }
    parts.push_back({begin, end});
    end = begin - TrailingSpace(text.substr(0, begin));
  }
  if (end > 0) parts.push_back({0, end});
  return parts;
}

// Where "" stands in text: before every character, and at the end.
std::vector<size_t> PlacesOfNothing(std::string_view text) {
  std::vector<size_t> places;
  size_t at = 0;
  for (const std::string_view character : Characters(text)) {
    places.push_back(at);
    at += character.size();
  }
  places.push_back(at);
  return places;
}

std::vector<size_t> PlacesOf(std::string_view text, std::string_view wanted) {
  if (wanted.empty()) return PlacesOfNothing(text);
  std::vector<size_t> places;
  for (size_t at = text.find(wanted); at != kNowhere; at = text.find(wanted, at + wanted.size())) {
    places.push_back(at);
  }
  return places;
}

}  // namespace

Text Strip(const Text& text, const Text* characters, Side side) {
  const std::string_view bytes = text.bytes();
  size_t begin = 0;
  size_t end = bytes.size();
  while (side != Side::kRight && begin < end) {
    const std::string_view first = bytes.substr(begin, FirstUtf8(bytes.substr(begin)).bytes);
    if (!IsOneOf(first, characters)) break;
    begin += first.size();
  }
  while (side != Side::kLeft && begin < end) {
    const size_t last = LastCharacter(bytes.substr(0, end));
    if (!IsOneOf(bytes.substr(last, end - last), characters)) break;
    end = last;
  }
  return text.Substr(begin, end);
}

absl::StatusOr<std::vector<Value>> Split(RenderState& state, const Text& text, const Text* separator,
                                         int64_t most, bool from_right) {
  if (separator != nullptr && separator->empty()) return absl::InvalidArgumentError("empty separator");
  TERNION_RETURN_IF_ERROR(SpendOnSearch(state, text, separator == nullptr ? Text() : *separator));
  std::vector<TextRange> parts;
  if (separator == nullptr) {
    parts = from_right ? CutAtSpaceFromRight(text.bytes(), most) : CutAtSpace(text.bytes(), most);
  } else {
    parts = from_right ? CutAtFromRight(text.bytes(), separator->bytes(), most)
                       : CutAt(text.bytes(), separator->bytes(), most);
  }
  if (from_right) std::reverse(parts.begin(), parts.end());
  TERNION_RETURN_IF_ERROR(state.Spend(static_cast<int64_t>(parts.size()), sizeof(Value) + sizeof(Text)));
  std::vector<Value> values;
  for (const TextRange& part : parts) values.push_back(Value::String(text.Substr(part.begin, part.end)));
  return values;
}

absl::StatusOr<Text> Replace(RenderState& state, const Text& text, const Text& old, const Text& replacement,
                             int64_t most) {
  TERNION_RETURN_IF_ERROR(SpendOnSearch(state, text, old));
  std::vector<size_t> places = PlacesOf(text.bytes(), old.bytes());
  if (most >= 0 && places.size() > static_cast<size_t>(most)) places.resize(static_cast<size_t>(most));
  TERNION_RETURN_IF_ERROR(
      state.Spend(static_cast<int64_t>(places.size()), static_cast<int64_t>(replacement.size()) + 8));
  Text result;
  size_t begin = 0;
  for (const size_t place : places) {
    result.Append(text, begin, place);
    result.Append(replacement);
    begin = place + old.size();
  }
  result.Append(text, begin, text.size());
  return result;
}

absl::StatusOr<Text> Join(RenderState& state, const Text& separator, const std::vector<Text>& parts) {
  int64_t bytes = static_cast<int64_t>(separator.size() * parts.size());
  for (const Text& part : parts) bytes += static_cast<int64_t>(part.size());
  TERNION_RETURN_IF_ERROR(state.Spend(bytes));
  Text result;
  for (size_t i = 0; i < parts.size(); ++i) {
    if (i > 0) result.Append(separator);
    result.Append(parts[i]);
  }
  return result;
}

absl::StatusOr<Text> Repeat(RenderState& state, const Text& text, int64_t times) {
  TERNION_RETURN_IF_ERROR(state.Spend(times, static_cast<int64_t>(text.size())));
  Text result;
  for (int64_t i = 0; i < times && !text.empty(); ++i) result.Append(text);
  return result;
}

absl::StatusOr<Text> Pad(RenderState& state, const Text& text, int64_t width, const Text& fill, Side side) {
  if (CountCharacters(fill.bytes()) != 1) {
    return absl::InvalidArgumentError("the fill character must be exactly one character long");
  }
  const int64_t missing = width - CountCharacters(text.bytes());
  if (missing <= 0) return text;
  const int64_t left = side == Side::kLeft    ? missing
                       : side == Side::kRight ? 0
                                              : missing / 2 + (missing & width & 1);
  TERNION_ASSIGN_OR_RETURN(Text result, Repeat(state, fill, left));
  TERNION_ASSIGN_OR_RETURN(const Text behind, Repeat(state, fill, missing - left));
  result.Append(text);
  result.Append(behind);
  return result;
}

absl::StatusOr<SliceRange> RangeOfSlice(int64_t length, std::optional<int64_t> start,
                                        std::optional<int64_t> stop, std::optional<int64_t> step) {
  if (step == 0) return absl::InvalidArgumentError("slice step cannot be zero");
  const int64_t by = std::max(step.value_or(1), -std::numeric_limits<int64_t>::max());
  const int64_t low = by > 0 ? 0 : -1;
  const int64_t high = by > 0 ? length : length - 1;
  const auto place = [&](std::optional<int64_t> index, int64_t absent) {
    if (!index.has_value()) return absent;
    return std::clamp(*index < 0 ? std::max(*index, -length - 1) + length : *index, low, high);
  };
  const int64_t first = place(start, by > 0 ? low : high);
  const int64_t end = place(stop, by > 0 ? high : low);
  const int64_t distance = by > 0 ? end - first : first - end;
  return SliceRange{first, distance <= 0 ? 0 : (distance - 1) / std::abs(by) + 1, by};
}

absl::StatusOr<Text> SliceText(RenderState& state, const Text& text, std::optional<int64_t> start,
                               std::optional<int64_t> stop, std::optional<int64_t> step) {
  const std::string_view bytes = text.bytes();
  TERNION_ASSIGN_OR_RETURN(const SliceRange range, RangeOfSlice(CountCharacters(bytes), start, stop, step));
  if (range.step == 1) {
    const size_t begin = ByteOfCharacter(bytes, range.first);
    return text.Substr(begin, begin + ByteOfCharacter(bytes.substr(begin), range.count));
  }
  TERNION_RETURN_IF_ERROR(state.Spend(static_cast<int64_t>(bytes.size()), sizeof(size_t)));
  const std::vector<size_t> places = PlacesOfNothing(bytes);
  Text result;
  for (int64_t i = 0; i < range.count; ++i) {
    const int64_t place = range.first + i * range.step;
    result.Append(text, places[place], places[place + 1]);
  }
  return result;
}

}  // namespace ternion::jinja
