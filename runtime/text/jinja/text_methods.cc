#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/status.h"
#include "runtime/text/jinja/characters.h"
#include "runtime/text/jinja/compare.h"
#include "runtime/text/jinja/formatting.h"
#include "runtime/text/jinja/iterate.h"
#include "runtime/text/jinja/letter_case.h"
#include "runtime/text/jinja/methods.h"
#include "runtime/text/jinja/text_operations.h"

namespace ternion::jinja {
namespace {

using ValueOr = absl::StatusOr<Value>;

ValueOr Mapped(const Value& self, std::string (*map)(std::string_view)) {
  return Value::String(Text::MadeOf(map(self.text()->bytes()), *self.text()));
}
ValueOr Upper(RenderState&, const Value& self, const Bound&) { return Mapped(self, ToUpper); }
ValueOr Lower(RenderState&, const Value& self, const Bound&) { return Mapped(self, ToLower); }
ValueOr Capitalized(RenderState&, const Value& self, const Bound&) { return Mapped(self, Capitalize); }

// Every run of letters begins with a capital.
std::string TitleWords(std::string_view text) {
  std::string out;
  bool in_word = false;
  for (const std::string_view character : Characters(text)) {
    out += in_word ? ToLower(character) : Capitalize(character);
    in_word = IsUpper(character) || IsLower(character);
  }
  return out;
}
ValueOr Title(RenderState&, const Value& self, const Bound&) { return Mapped(self, TitleWords); }

ValueOr Stripped(const Value& self, const Bound& arguments, Side side) {
  if (!arguments.Has(0) || arguments[0].is_none()) return Value::String(Strip(*self.text(), nullptr, side));
  TERNION_ASSIGN_OR_RETURN(const Text characters, arguments.String(0));
  return Value::String(Strip(*self.text(), &characters, side));
}
ValueOr StripBoth(RenderState&, const Value& self, const Bound& arguments) {
  return Stripped(self, arguments, Side::kBoth);
}
ValueOr StripLeft(RenderState&, const Value& self, const Bound& arguments) {
  return Stripped(self, arguments, Side::kLeft);
}
ValueOr StripRight(RenderState&, const Value& self, const Bound& arguments) {
  return Stripped(self, arguments, Side::kRight);
}

ValueOr SplitFrom(RenderState& state, const Value& self, const Bound& arguments, bool from_right) {
  const bool spaces = !arguments.Has(0) || arguments[0].is_none();
  TERNION_ASSIGN_OR_RETURN(const Text separator, spaces ? Text() : arguments.String(0));
  TERNION_ASSIGN_OR_RETURN(const int64_t most, arguments.Int(1, -1));
  TERNION_ASSIGN_OR_RETURN(std::vector<Value> parts,
                           Split(state, *self.text(), spaces ? nullptr : &separator, most, from_right));
  return Value::List(std::move(parts));
}
ValueOr SplitLeft(RenderState& state, const Value& self, const Bound& arguments) {
  return SplitFrom(state, self, arguments, /*from_right=*/false);
}
ValueOr SplitRight(RenderState& state, const Value& self, const Bound& arguments) {
  return SplitFrom(state, self, arguments, /*from_right=*/true);
}

ValueOr SplitLines(RenderState& state, const Value& self, const Bound& arguments) {
  const std::vector<TextRange> lines = Lines(self.text()->bytes(), arguments.Truth(0));
  TERNION_RETURN_IF_ERROR(state.Spend(static_cast<int64_t>(lines.size()), sizeof(Value) + sizeof(Text)));
  std::vector<Value> values;
  for (const TextRange& line : lines)
    values.push_back(Value::String(self.text()->Substr(line.begin, line.end)));
  return Value::List(std::move(values));
}

// (before, separator, after) of the first or the last separator.
ValueOr PartitionAt(RenderState& state, const Value& self, const Bound& arguments, bool from_right) {
  const Text& text = *self.text();
  TERNION_ASSIGN_OR_RETURN(const Text separator, arguments.String(0));
  TERNION_ASSIGN_OR_RETURN(const std::vector<Value> parts, Split(state, text, &separator, 1, from_right));
  if (parts.size() == 2) return Value::Tuple({parts[0], Value::String(separator), parts[1]});
  const Value none = Value::Own("");
  return from_right ? Value::Tuple({none, none, self}) : Value::Tuple({self, none, none});
}
ValueOr Partition(RenderState& state, const Value& self, const Bound& arguments) {
  return PartitionAt(state, self, arguments, /*from_right=*/false);
}
ValueOr PartitionRight(RenderState& state, const Value& self, const Bound& arguments) {
  return PartitionAt(state, self, arguments, /*from_right=*/true);
}

ValueOr ReplaceAll(RenderState& state, const Value& self, const Bound& arguments) {
  TERNION_ASSIGN_OR_RETURN(const Text old, arguments.String(0));
  TERNION_ASSIGN_OR_RETURN(const Text replacement, arguments.String(1));
  TERNION_ASSIGN_OR_RETURN(const int64_t most, arguments.Int(2, -1));
  TERNION_ASSIGN_OR_RETURN(Text replaced, Replace(state, *self.text(), old, replacement, most));
  return Value::String(std::move(replaced));
}

ValueOr JoinItems(RenderState& state, const Value& self, const Bound& arguments) {
  TERNION_ASSIGN_OR_RETURN(const auto items, Items(state, arguments[0]));
  std::vector<Text> parts;
  for (const Value& item : items->items) {
    if (item.text() == nullptr) return WrongType("each item of join()", "a string", item);
    parts.push_back(*item.text());
  }
  TERNION_ASSIGN_OR_RETURN(Text joined, Join(state, *self.text(), parts));
  return Value::String(std::move(joined));
}

// Does one of the affixes, a string or a tuple of them, stand at that end of the characters [start, stop)?
ValueOr HasAffix(RenderState& state, const Value& self, const Bound& arguments, bool at_end) {
  TERNION_ASSIGN_OR_RETURN(const int64_t start, arguments.Int(1, 0));
  TERNION_ASSIGN_OR_RETURN(const int64_t stop, arguments.Int(2, std::numeric_limits<int64_t>::max()));
  TERNION_ASSIGN_OR_RETURN(const Text part, SliceText(state, *self.text(), start, stop, 1));
  const Sequence* tuple = arguments[0].sequence();
  const std::vector<Value> affixes = tuple == nullptr ? std::vector<Value>{arguments[0]} : tuple->items;
  for (const Value& affix : affixes) {
    if (affix.text() == nullptr) return WrongType("the affix", "a string or a tuple of strings", affix);
    const std::string_view text = part.bytes();
    const std::string_view wanted = affix.text()->bytes();
    if (at_end ? text.ends_with(wanted) : text.starts_with(wanted)) return Value::Bool(true);
  }
  return Value::Bool(false);
}
ValueOr StartsWith(RenderState& state, const Value& self, const Bound& arguments) {
  return HasAffix(state, self, arguments, /*at_end=*/false);
}
ValueOr EndsWith(RenderState& state, const Value& self, const Bound& arguments) {
  return HasAffix(state, self, arguments, /*at_end=*/true);
}

ValueOr RemovePrefix(RenderState&, const Value& self, const Bound& arguments) {
  TERNION_ASSIGN_OR_RETURN(const Text prefix, arguments.String(0));
  const Text& text = *self.text();
  if (!std::string_view(text.bytes()).starts_with(prefix.bytes())) return self;
  return Value::String(text.Substr(prefix.size(), text.size()));
}
ValueOr RemoveSuffix(RenderState&, const Value& self, const Bound& arguments) {
  TERNION_ASSIGN_OR_RETURN(const Text suffix, arguments.String(0));
  const Text& text = *self.text();
  if (!std::string_view(text.bytes()).ends_with(suffix.bytes())) return self;
  return Value::String(text.Substr(0, text.size() - suffix.size()));
}

// The character at which `wanted` stands; -1 for none.
absl::StatusOr<int64_t> PlaceOf(RenderState& state, const Value& self, const Bound& arguments,
                                bool from_right) {
  TERNION_ASSIGN_OR_RETURN(const Text wanted, arguments.String(0));
  TERNION_ASSIGN_OR_RETURN(const int64_t start, arguments.Int(1, 0));
  TERNION_ASSIGN_OR_RETURN(const int64_t stop, arguments.Int(2, std::numeric_limits<int64_t>::max()));
  TERNION_RETURN_IF_ERROR(SpendOnSearch(state, *self.text(), wanted));
  const std::string_view text = self.text()->bytes();
  TERNION_ASSIGN_OR_RETURN(const SliceRange range, RangeOfSlice(CountCharacters(text), start, stop, 1));
  const size_t begin = ByteOfCharacter(text, range.first);
  const std::string_view part = text.substr(begin, ByteOfCharacter(text.substr(begin), range.count));
  const size_t at = from_right ? part.rfind(wanted.bytes()) : part.find(wanted.bytes());
  return at == std::string_view::npos ? -1 : range.first + CountCharacters(part.substr(0, at));
}
ValueOr Find(RenderState& state, const Value& self, const Bound& arguments) {
  TERNION_ASSIGN_OR_RETURN(const int64_t place, PlaceOf(state, self, arguments, /*from_right=*/false));
  return Value::Int(place);
}
ValueOr FindRight(RenderState& state, const Value& self, const Bound& arguments) {
  TERNION_ASSIGN_OR_RETURN(const int64_t place, PlaceOf(state, self, arguments, /*from_right=*/true));
  return Value::Int(place);
}
ValueOr OrNotFound(ValueOr place) {
  if (place.ok() && *place->AsInt() < 0) return absl::InvalidArgumentError("substring not found");
  return place;
}
ValueOr Index(RenderState& state, const Value& self, const Bound& arguments) {
  return OrNotFound(Find(state, self, arguments));
}
ValueOr IndexRight(RenderState& state, const Value& self, const Bound& arguments) {
  return OrNotFound(FindRight(state, self, arguments));
}

ValueOr Count(RenderState& state, const Value& self, const Bound& arguments) {
  TERNION_ASSIGN_OR_RETURN(const Text wanted, arguments.String(0));
  if (wanted.empty()) return Value::Int(CountCharacters(self.text()->bytes()) + 1);
  TERNION_RETURN_IF_ERROR(SpendOnSearch(state, *self.text(), wanted));
  const std::string& text = self.text()->bytes();
  int64_t count = 0;
  for (size_t at = text.find(wanted.bytes()); at != std::string::npos;
       at = text.find(wanted.bytes(), at + wanted.size())) {
    ++count;
  }
  return Value::Int(count);
}

ValueOr Padded(RenderState& state, const Value& self, const Bound& arguments, Side side) {
  TERNION_ASSIGN_OR_RETURN(const int64_t width, arguments.Int(0));
  TERNION_ASSIGN_OR_RETURN(const Text fill, arguments.String(1, Text::Own(" ")));
  TERNION_ASSIGN_OR_RETURN(Text padded, Pad(state, *self.text(), width, fill, side));
  return Value::String(std::move(padded));
}
ValueOr Center(RenderState& state, const Value& self, const Bound& arguments) {
  return Padded(state, self, arguments, Side::kBoth);
}
ValueOr LeftJustified(RenderState& state, const Value& self, const Bound& arguments) {
  return Padded(state, self, arguments, Side::kRight);
}
ValueOr RightJustified(RenderState& state, const Value& self, const Bound& arguments) {
  return Padded(state, self, arguments, Side::kLeft);
}

// Zeros behind a sign.
ValueOr ZeroFilled(RenderState& state, const Value& self, const Bound& arguments) {
  TERNION_ASSIGN_OR_RETURN(const int64_t width, arguments.Int(0));
  const Text& text = *self.text();
  const size_t sign = text.bytes().starts_with('-') || text.bytes().starts_with('+') ? 1 : 0;
  TERNION_ASSIGN_OR_RETURN(const Text digits,
                           Pad(state, text.Substr(sign, text.size()), width - static_cast<int64_t>(sign),
                               Text::Own("0"), Side::kLeft));
  Text filled = text.Substr(0, sign);
  filled.Append(digits);
  return Value::String(std::move(filled));
}

ValueOr Format(RenderState& state, const Value& self, const Bound& arguments) {
  TERNION_ASSIGN_OR_RETURN(Text formatted, FormatBraces(state, *self.text(), arguments.rest()));
  return Value::String(std::move(formatted));
}

Value All(const Value& self, bool (*is)(std::string_view)) {
  const Characters characters(self.text()->bytes());
  return Value::Bool(!self.text()->empty() && std::all_of(characters.begin(), characters.end(), is));
}
ValueOr IsAlpha(RenderState&, const Value& self, const Bound&) { return All(self, IsLetter); }
ValueOr IsDigits(RenderState&, const Value& self, const Bound&) { return All(self, IsDigit); }
ValueOr IsAlnum(RenderState&, const Value& self, const Bound&) {
  return All(self, [](std::string_view character) { return IsLetter(character) || IsDigit(character); });
}
ValueOr IsSpaces(RenderState&, const Value& self, const Bound&) {
  return All(self, [](std::string_view character) { return IsSpace(FirstCodePoint(character)); });
}

// Some letter of that case, and none of the other.
Value Cased(const Value& self, bool (*is)(std::string_view), bool (*is_other)(std::string_view)) {
  const Characters characters(self.text()->bytes());
  return Value::Bool(std::any_of(characters.begin(), characters.end(), is) &&
                     std::none_of(characters.begin(), characters.end(), is_other));
}
ValueOr IsLowerCase(RenderState&, const Value& self, const Bound&) { return Cased(self, IsLower, IsUpper); }
ValueOr IsUpperCase(RenderState&, const Value& self, const Bound&) { return Cased(self, IsUpper, IsLower); }

constexpr Builtin kMethods[] = {
    {"capitalize", "", Capitalized},
    {"center", "width fillchar?", Center},
    {"count", "sub", Count},
    {"endswith", "suffix start? end?", EndsWith},
    {"find", "sub start? end?", Find},
    {"format", "*", Format},
    {"index", "sub start? end?", Index},
    {"isalnum", "", IsAlnum},
    {"isalpha", "", IsAlpha},
    {"isdecimal", "", IsDigits},
    {"isdigit", "", IsDigits},
    {"islower", "", IsLowerCase},
    {"isspace", "", IsSpaces},
    {"isupper", "", IsUpperCase},
    {"join", "iterable", JoinItems},
    {"ljust", "width fillchar?", LeftJustified},
    {"lower", "", Lower},
    {"lstrip", "chars?", StripLeft},
    {"partition", "sep", Partition},
    {"removeprefix", "prefix", RemovePrefix},
    {"removesuffix", "suffix", RemoveSuffix},
    {"replace", "old new count?", ReplaceAll},
    {"rfind", "sub start? end?", FindRight},
    {"rindex", "sub start? end?", IndexRight},
    {"rjust", "width fillchar?", RightJustified},
    {"rpartition", "sep", PartitionRight},
    {"rsplit", "sep? maxsplit?", SplitRight},
    {"rstrip", "chars?", StripRight},
    {"split", "sep? maxsplit?", SplitLeft},
    {"splitlines", "keepends?", SplitLines},
    {"startswith", "prefix start? end?", StartsWith},
    {"strip", "chars?", StripBoth},
    {"title", "", Title},
    {"upper", "", Upper},
    {"zfill", "width", ZeroFilled},
};

}  // namespace

const Builtin* FindTextMethod(std::string_view name) { return FindBuiltin(kMethods, name); }

}  // namespace ternion::jinja
