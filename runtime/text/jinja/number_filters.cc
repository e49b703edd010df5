#include <cmath>
#include <cstdlib>
#include <optional>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "kernels/status.h"
#include "runtime/text/jinja/characters.h"
#include "runtime/text/jinja/filters.h"

namespace ternion::jinja {
namespace {

using ValueOr = absl::StatusOr<Value>;

// Digits as Python's int() and float() take them: with white space around and single underscores between.
std::optional<std::string> PlainNumber(std::string_view text) {
  text.remove_prefix(LeadingSpace(text));
  text.remove_suffix(TrailingSpace(text));
  std::string digits;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool between = i > 0 && i + 1 < text.size() &&
                         std::isalnum(static_cast<unsigned char>(text[i - 1])) != 0 &&
                         std::isalnum(static_cast<unsigned char>(text[i + 1])) != 0;
    if (text[i] == '_' && !between) return std::nullopt;
    if (text[i] != '_') digits += text[i];
  }
  return digits;
}

std::optional<int64_t> ParseInt(std::string_view text, int64_t base) {
  std::optional<std::string> digits = PlainNumber(text);
  if (!digits.has_value() || digits->empty() || base < 0 || base > 36 || base == 1) return std::nullopt;
  const size_t sign = (*digits)[0] == '-' || (*digits)[0] == '+' ? 1 : 0;
  const char letter = digits->size() > sign + 2 && (*digits)[sign] == '0'
                          ? static_cast<char>((*digits)[sign + 1] | 0x20)
                          : ' ';
  const int64_t prefix = letter == 'b' ? 2 : letter == 'o' ? 8 : letter == 'x' ? 16 : 0;
  if (prefix != 0 && (base == 0 || base == prefix)) {
    digits->erase(sign, 2);
    base = prefix;
  }
  char* end = nullptr;
  errno = 0;
  const long long integer = std::strtoll(digits->c_str(), &end, static_cast<int>(base == 0 ? 10 : base));
  const bool whole = end == digits->c_str() + digits->size() && errno == 0;
  const bool begins = std::isalnum(static_cast<unsigned char>((*digits)[sign])) != 0;
  return whole && begins ? std::optional<int64_t>(integer) : std::nullopt;
}

std::optional<double> ParseFloat(std::string_view text) {
  const std::optional<std::string> digits = PlainNumber(text);
  double number = 0;
  if (!digits.has_value() || digits->find_first_of("xX()") != std::string::npos) return std::nullopt;
  if (!absl::SimpleAtod(*digits, &number)) return std::nullopt;
  return number;
}

std::optional<int64_t> Truncated(double number) {
  if (!(number > -9.2e18 && number < 9.2e18)) return std::nullopt;
  return static_cast<int64_t>(number);
}

ValueOr ToInt(RenderState&, const Value& self, const Bound& arguments) {
  const Value absent = arguments.Has(0) ? arguments[0] : Value::Int(0);
  TERNION_ASSIGN_OR_RETURN(const int64_t base, arguments.Int(1, 10));
  if (const auto integer = self.AsInt()) return Value::Int(*integer);
  if (self.text() != nullptr) {
    if (const auto integer = ParseInt(self.text()->bytes(), base)) return Value::Int(*integer);
  }
  const std::optional<double> number =
      self.text() != nullptr ? ParseFloat(self.text()->bytes()) : self.AsNumber();
  if (self.is_undefined()) return absl::InvalidArgumentError(self.reason());
  const std::optional<int64_t> integer = number.has_value() ? Truncated(*number) : std::nullopt;
  return integer.has_value() ? Value::Int(*integer) : absent;
}

ValueOr ToFloat(RenderState&, const Value& self, const Bound& arguments) {
  if (self.is_undefined()) return absl::InvalidArgumentError(self.reason());
  const std::optional<double> number =
      self.text() != nullptr ? ParseFloat(self.text()->bytes()) : self.AsNumber();
  if (number.has_value()) return Value::Float(*number);
  return arguments.Has(0) ? arguments[0] : Value::Float(0);
}

ValueOr Abs(RenderState&, const Value& self, const Bound&) {
  if (const auto integer = self.AsInt(); integer.has_value() && *integer != INT64_MIN) {
    return Value::Int(std::abs(*integer));
  }
  if (!self.is_float()) return WrongType("what abs is given", "a number of 64 bits", self);
  return Value::Float(std::fabs(*self.AsNumber()));
}

// Half to even, of the number's exact decimal value.
double RoundTo(double number, int64_t precision) {
  if (precision >= 0)
    return std::strtod(absl::StrFormat("%.*f", static_cast<int>(precision), number).c_str(), nullptr);
  const double unit = std::pow(10, -precision);
  return std::nearbyint(number / unit) * unit;
}

ValueOr Round(RenderState&, const Value& self, const Bound& arguments) {
  const std::optional<double> number = self.AsNumber();
  if (!number.has_value()) return WrongType("what round is given", "a number", self);
  TERNION_ASSIGN_OR_RETURN(const int64_t precision, arguments.Int(0, 0));
  TERNION_ASSIGN_OR_RETURN(const Text method, arguments.String(1, Text::Own("common")));
  if (precision < -300 || precision > 300)
    return absl::InvalidArgumentError("round's precision is not in -300 to 300");
  if (method.bytes() == "common") {
    if (self.AsInt().has_value() && precision >= 0) return Value::Int(*self.AsInt());
    return Value::Float(RoundTo(*number, precision));
  }
  const double unit = std::pow(10, precision);
  if (method.bytes() == "ceil") return Value::Float(std::ceil(*number * unit) / unit);
  if (method.bytes() == "floor") return Value::Float(std::floor(*number * unit) / unit);
  return absl::InvalidArgumentError("round's method must be common, ceil or floor");
}

constexpr Builtin kFilters[] = {{"abs", "", Abs},
                                {"float", "default?", ToFloat},
                                {"int", "default? base?", ToInt},
                                {"round", "precision? method?", Round}};

}  // namespace

absl::Span<const Builtin> NumberFilters() { return kFilters; }

}  // namespace ternion::jinja
