#include "runtime/text/jinja/print.h"

#include <charconv>
#include <cmath>
#include <cstdlib>

#include "absl/strings/str_cat.h"
#include "kernels/status.h"
#include "runtime/text/jinja/callable.h"
#include "runtime/text/jinja/characters.h"
#include "runtime/text/utf8.h"

namespace ternion::jinja {
namespace {

void AppendCharacterRepr(std::string_view character, char quote, std::string& out) {
  const uint32_t c = FirstCodePoint(character);
  if (c == '\\' || c == static_cast<uint32_t>(quote)) {
    absl::StrAppend(&out, "\\", ToAbsl(character));
  } else if (c == '\n') {
    out += "\\n";
  } else if (c == '\r') {
    out += "\\r";
  } else if (c == '\t') {
    out += "\\t";
  } else if (IsPrintable(character)) {
    out += character;
  } else if (c < 0x100) {
    absl::StrAppend(&out, "\\x", absl::Hex(c, absl::kZeroPad2));
  } else if (c < 0x10000) {
    absl::StrAppend(&out, "\\u", absl::Hex(c, absl::kZeroPad4));
  } else {
    absl::StrAppend(&out, "\\U", absl::Hex(c, absl::kZeroPad8));
  }
}

void AppendTextRepr(std::string_view text, std::string& out) {
  const bool has_single = text.find('\'') != std::string_view::npos;
  const char quote = has_single && text.find('"') == std::string_view::npos ? '"' : '\'';
  out += quote;
  for (const std::string_view character : Characters(text)) AppendCharacterRepr(character, quote, out);
  out += quote;
}

void AppendRepr(const Value& value, std::string& out);

void AppendItems(const std::vector<Value>& items, std::string& out) {
  for (size_t i = 0; i < items.size(); ++i) {
    if (i > 0) out += ", ";
    AppendRepr(items[i], out);
  }
}

void AppendSequence(const Value& value, std::string& out) {
  const Sequence& sequence = *value.sequence();
  const bool tuple = sequence.is_tuple();
  if (sequence.is_view()) absl::StrAppend(&out, ToAbsl(value.type_name()), "(");
  out += tuple ? '(' : '[';
  AppendItems(sequence.items, out);
  if (tuple && sequence.items.size() == 1) out += ',';
  out += tuple ? ')' : ']';
  if (sequence.is_view()) out += ')';
}

void AppendDict(const Dict& dict, std::string& out) {
  out += '{';
  for (const Dict::Entry& entry : dict.entries()) {
    if (&entry != dict.entries().begin()) out += ", ";
    AppendRepr(entry.key, out);
    out += ": ";
    AppendRepr(entry.value, out);
  }
  out += '}';
}

void AppendRepr(const Value& value, std::string& out) {
  if (value.text() != nullptr) {
    AppendTextRepr(value.text()->bytes(), out);
  } else if (value.sequence() != nullptr) {
    AppendSequence(value, out);
  } else if (value.dict() != nullptr) {
    AppendDict(*value.dict(), out);
  } else if (value.is_undefined()) {
    out += "Undefined";
  } else {
    out += Str(value).bytes();
  }
}

std::string ObjectName(const Value& value) {
  if (value.callable() != nullptr) return absl::StrCat("<function ", ToAbsl(value.callable()->name()), ">");
  return absl::StrCat("<", ToAbsl(value.type_name()), ">");
}

}  // namespace

Text Str(const Value& value) {
  if (value.text() != nullptr) return *value.text();
  if (value.is_undefined()) return Text();
  if (value.is_none()) return Text::Own("None");
  if (value.is_bool()) return Text::Own(value.is_true() ? "True" : "False");
  if (value.is_int()) return Text::Own(absl::StrCat(*value.AsInt()));
  if (value.is_float()) return Text::Own(FloatRepr(*value.AsNumber()));
  const bool container = value.sequence() != nullptr || value.dict() != nullptr;
  return Text::Foreign(container ? Repr(value) : ObjectName(value));
}

std::string Repr(const Value& value) {
  std::string out;
  AppendRepr(value, out);
  return out;
}

// The fewest digits that read back as the number; with an exponent below 1e-4 and from 1e16.
std::string FloatRepr(double number) {
  if (std::isnan(number)) return "nan";
  if (std::isinf(number)) return number < 0 ? "-inf" : "inf";
  char digits[64];
  const auto scientific =
      std::to_chars(digits, digits + sizeof(digits), number, std::chars_format::scientific);
  const std::string text(digits, scientific.ptr);
  const int exponent = std::atoi(text.c_str() + text.find('e') + 1);
  if (exponent < -4 || exponent >= 16) return text;
  const auto fixed = std::to_chars(digits, digits + sizeof(digits), number, std::chars_format::fixed);
  const std::string plain(digits, fixed.ptr);
  return plain.find('.') == std::string::npos ? plain + ".0" : plain;
}

}  // namespace ternion::jinja
