#include <utility>

#include "kernels/status.h"
#include "runtime/text/jinja/characters.h"
#include "runtime/text/jinja/filters.h"
#include "runtime/text/jinja/formatting.h"
#include "runtime/text/jinja/json.h"
#include "runtime/text/jinja/letter_case.h"
#include "runtime/text/jinja/methods.h"
#include "runtime/text/jinja/print.h"
#include "runtime/text/jinja/text_operations.h"

namespace ternion::jinja {
namespace {

using ValueOr = absl::StatusOr<Value>;

// What a filter of text is given: anything, as it is shown.
absl::StatusOr<Text> Shown(RenderState& state, const Value& value) {
  if (value.text() == nullptr) TERNION_RETURN_IF_ERROR(state.Spend(value.weight()));
  return Str(value);
}

// As the method of this name.
ValueOr CallMethod(RenderState& state, const Value& self, std::string_view method,
                   const Arguments& arguments) {
  TERNION_ASSIGN_OR_RETURN(Text text, Shown(state, self));
  return Invoke(*FindTextMethod(method), state, Value::String(std::move(text)), arguments);
}
ValueOr Upper(RenderState& state, const Value& self, const Bound&) {
  return CallMethod(state, self, "upper", {});
}
ValueOr Lower(RenderState& state, const Value& self, const Bound&) {
  return CallMethod(state, self, "lower", {});
}
ValueOr Capitalized(RenderState& state, const Value& self, const Bound&) {
  return CallMethod(state, self, "capitalize", {});
}
ValueOr Trim(RenderState& state, const Value& self, const Bound& arguments) {
  return CallMethod(state, self, "strip", {{arguments.Has(0) ? arguments[0] : Value::None()}, {}});
}
ValueOr Center(RenderState& state, const Value& self, const Bound& arguments) {
  return CallMethod(state, self, "center", {{arguments.Has(0) ? arguments[0] : Value::Int(80)}, {}});
}

ValueOr String(RenderState& state, const Value& self, const Bound&) {
  TERNION_ASSIGN_OR_RETURN(Text text, Shown(state, self));
  return Value::String(std::move(text));
}

ValueOr Replaced(RenderState& state, const Value& self, const Bound& arguments) {
  TERNION_ASSIGN_OR_RETURN(const Text text, Shown(state, self));
  TERNION_ASSIGN_OR_RETURN(const Text old, Shown(state, arguments[0]));
  TERNION_ASSIGN_OR_RETURN(const Text replacement, Shown(state, arguments[1]));
  const bool counted = arguments.Has(2) && !arguments[2].is_none();
  TERNION_ASSIGN_OR_RETURN(const int64_t most, counted ? arguments.Int(2) : -1);
  TERNION_ASSIGN_OR_RETURN(Text replaced, Replace(state, text, old, replacement, most));
  return Value::String(std::move(replaced));
}

// Jinja's own rule: a word begins behind white space, a hyphen or an opening bracket.
ValueOr Title(RenderState& state, const Value& self, const Bound&) {
  TERNION_ASSIGN_OR_RETURN(const Text text, Shown(state, self));
  std::string out;
  bool begins = true;
  for (const std::string_view character : Characters(text.bytes())) {
    out += begins ? ToUpper(character) : ToLower(character);
    begins = IsSpace(FirstCodePoint(character)) ||
             std::string_view("-({[<").find(character) != std::string_view::npos;
  }
  return Value::String(Text::MadeOf(std::move(out), text));
}

ValueOr Format(RenderState& state, const Value& self, const Bound& arguments) {
  TERNION_ASSIGN_OR_RETURN(const Text format, Shown(state, self));
  TERNION_ASSIGN_OR_RETURN(Text text, FormatPercent(state, format, arguments.rest()));
  return Value::String(std::move(text));
}

// A string, or so many spaces.
absl::StatusOr<Text> Indention(RenderState& state, const Value& width) {
  if (width.text() != nullptr) return *width.text();
  if (!width.AsInt().has_value())
    return WrongType("the width of an indention", "an integer or a string", width);
  return Repeat(state, Text::Own(" "), *width.AsInt());
}

ValueOr Indent(RenderState& state, const Value& self, const Bound& arguments) {
  TERNION_ASSIGN_OR_RETURN(const Text indention,
                           Indention(state, arguments.Has(0) ? arguments[0] : Value::Int(4)));
  if (self.text() == nullptr) return WrongType("what indent is given", "a string", self);
  const bool first = arguments.Truth(1);
  const bool blank = arguments.Truth(2);
  Text text = *self.text();
  text.AppendOwn("\n");
  const std::vector<TextRange> lines = Lines(text.bytes(), /*keep_ends=*/false);
  TERNION_RETURN_IF_ERROR(
      state.Spend(static_cast<int64_t>(lines.size()), static_cast<int64_t>(indention.size()) + 16));
  Text out;
  for (size_t i = 0; i < lines.size(); ++i) {
    const bool empty = lines[i].begin == lines[i].end;
    if (i > 0) out.AppendOwn("\n");
    if (i == 0 ? first : blank || !empty) out.Append(indention);
    out.Append(text, lines[i].begin, lines[i].end);
  }
  return Value::String(std::move(out));
}

ValueOr Truncate(RenderState& state, const Value& self, const Bound& arguments) {
  if (self.text() == nullptr) return WrongType("what truncate is given", "a string", self);
  TERNION_ASSIGN_OR_RETURN(const int64_t length, arguments.Int(0, 255));
  TERNION_ASSIGN_OR_RETURN(const Text end, arguments.String(2, Text::Own("...")));
  const bool leeway_given = arguments.Has(3) && !arguments[3].is_none();
  TERNION_ASSIGN_OR_RETURN(const int64_t leeway, leeway_given ? arguments.Int(3) : 5);
  const int64_t kept = length - CountCharacters(end.bytes());
  if (kept < 0 || leeway < 0) return absl::InvalidArgumentError("truncate's length is shorter than its end");
  if (CountCharacters(self.text()->bytes()) - length <= leeway) return self;
  TERNION_ASSIGN_OR_RETURN(Text text, SliceText(state, *self.text(), 0, kept, 1));
  const size_t space = text.bytes().rfind(' ');
  if (!arguments.Truth(1) && space != std::string::npos) text = text.Substr(0, space);
  text.Append(end);
  return Value::String(std::move(text));
}

ValueOr WordCount(RenderState& state, const Value& self, const Bound&) {
  TERNION_ASSIGN_OR_RETURN(const Text text, Shown(state, self));
  int64_t words = 0;
  bool in_word = false;
  for (const std::string_view character : Characters(text.bytes())) {
    const bool now = IsWordCharacter(character);
    if (now && !in_word) ++words;
    in_word = now;
  }
  return Value::Int(words);
}

absl::StatusOr<JsonStyle> StyleOf(RenderState& state, const Bound& arguments) {
  JsonStyle style;
  style.ascii_only = arguments.Truth(0);
  style.sort_keys = arguments.Truth(3);
  if (arguments.Has(1) && !arguments[1].is_none()) {
    TERNION_ASSIGN_OR_RETURN(const Text indention, Indention(state, arguments[1]));
    style.indent = indention.bytes();
    style.item_separator.assign(1, ',');
  }
  if (!arguments.Has(2) || arguments[2].is_none()) return style;
  const Sequence* separators = arguments[2].sequence();
  const bool pair = separators != nullptr && separators->items.size() == 2 &&
                    separators->items[0].text() != nullptr && separators->items[1].text() != nullptr;
  if (!pair) return WrongType("tojson's argument 'separators'", "a pair of strings", arguments[2]);
  style.item_separator = separators->items[0].text()->bytes();
  style.key_separator = separators->items[1].text()->bytes();
  return style;
}

// All of the text counts as foreign: it shows a client's data in a form that no template wrote.
ValueOr Json(RenderState& state, const Value& self, const Bound& arguments) {
  TERNION_ASSIGN_OR_RETURN(const JsonStyle style, StyleOf(state, arguments));
  const auto indention = static_cast<int64_t>(style.indent.value_or("").size());
  TERNION_RETURN_IF_ERROR(state.Spend(self.weight(), 1 + indention * (self.nesting() + 1) / 16));
  TERNION_ASSIGN_OR_RETURN(std::string json, ToJson(self, style));
  return Value::String(Text::Foreign(std::move(json)));
}

constexpr Builtin kFilters[] = {
    {"capitalize", "", Capitalized},
    {"center", "width?", Center},
    {"format", "*", Format},
    {"indent", "width? first? blank?", Indent},
    {"lower", "", Lower},
    {"replace", "old new count?", Replaced},
    {"safe", "", String},
    {"string", "", String},
    {"title", "", Title},
    {"tojson", "ensure_ascii? indent? separators? sort_keys?", Json},
    {"trim", "chars?", Trim},
    {"truncate", "length? killwords? end? leeway?", Truncate},
    {"upper", "", Upper},
    {"wordcount", "", WordCount},
};

}  // namespace

absl::Span<const Builtin> TextFilters() { return kFilters; }

}  // namespace ternion::jinja
