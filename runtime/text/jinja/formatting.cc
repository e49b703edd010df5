#include "runtime/text/jinja/formatting.h"

#include <algorithm>
#include <cstdio>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "kernels/status.h"
#include "runtime/text/jinja/print.h"
#include "runtime/text/jinja/text_operations.h"

namespace ternion::jinja {
namespace {

constexpr size_t kNowhere = std::string_view::npos;
constexpr int64_t kMostWidth = 1000;

absl::Status Broken(absl::string_view message) { return absl::InvalidArgumentError(message); }

const Value* FindNamed(const Arguments& values, std::string_view name) {
  for (const auto& [known, value] : values.named) {
    if (known == name) return &value;
  }
  return nullptr;
}

// One %-field.
struct Field {
  std::string flags;
  int64_t width = 0;
  std::optional<int64_t> precision;
  char conversion = 's';
};

class PercentFormatter {
 public:
  PercentFormatter(RenderState& state, const Text& format, const Arguments& values)
      : state_(state), format_(format), text_(format.bytes()), values_(values) {}

  absl::StatusOr<Text> Run() {
    while (at_ < text_.size()) {
      const size_t percent = std::min(text_.find('%', at_), text_.size());
      out_.Append(format_, at_, percent);
      at_ = percent;
      if (at_ < text_.size()) TERNION_RETURN_IF_ERROR(ReadField());
    }
    if (next_ < values_.positional.size())
      return Broken("not all arguments converted during string formatting");
    return std::move(out_);
  }

 private:
  absl::Status ReadField() {
    ++at_;
    if (text_.substr(at_, 1) == "%") {
      out_.Append(format_, at_, at_ + 1);
      ++at_;
      return absl::OkStatus();
    }
    TERNION_ASSIGN_OR_RETURN(const std::optional<std::string> name, ReadName());
    Field field;
    while (at_ < text_.size() && std::string_view("-+ 0#").find(text_[at_]) != kNowhere)
      field.flags += text_[at_++];
    field.width = ReadNumber();
    if (text_.substr(at_, 1) == ".") {
      ++at_;
      field.precision = ReadNumber();
    }
    if (at_ == text_.size()) return Broken("incomplete format");
    field.conversion = text_[at_++];
    TERNION_ASSIGN_OR_RETURN(const Value* value, TakeValue(name));
    return Append(field, *value);
  }

  absl::StatusOr<std::optional<std::string>> ReadName() {
    if (text_.substr(at_, 1) != "(") return std::optional<std::string>();
    const size_t end = text_.find(')', at_);
    if (end == kNowhere) return Broken("incomplete format key");
    std::optional<std::string> name(text_.substr(at_ + 1, end - at_ - 1));
    at_ = end + 1;
    return name;
  }

  int64_t ReadNumber() {
    int64_t number = 0;
    for (; at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9'; ++at_) {
      number = std::min<int64_t>(10 * number + (text_[at_] - '0'), kMostWidth + 1);
    }
    return number;
  }

  absl::StatusOr<const Value*> TakeValue(const std::optional<std::string>& name) {
    const Value* value = nullptr;
    if (name.has_value()) {
      value = FindNamed(values_, *name);
    } else if (next_ < values_.positional.size()) {
      value = &values_.positional[next_++];
    }
    if (value == nullptr) return Broken("not enough arguments for format string");
    return value;
  }

  absl::Status Append(const Field& field, const Value& value) {
    if (field.width > kMostWidth || field.precision.value_or(0) > kMostWidth) {
      return Broken(absl::StrCat("a width or precision of a format is above ", kMostWidth));
    }
    TERNION_ASSIGN_OR_RETURN(const Text shown, Show(field, value));
    const Side side = field.flags.find('-') != kNowhere ? Side::kRight : Side::kLeft;
    TERNION_ASSIGN_OR_RETURN(const Text padded, Pad(state_, shown, field.width, Text::Own(" "), side));
    out_.Append(padded);
    return absl::OkStatus();
  }

  absl::StatusOr<Text> Show(const Field& field, const Value& value) {
    switch (field.conversion) {
      case 's':
      case 'r': {
        TERNION_RETURN_IF_ERROR(state_.Spend(value.weight()));
        const Text shown = field.conversion == 's' ? Str(value) : Text::Foreign(Repr(value));
        return SliceText(state_, shown, 0, field.precision, 1);
      }
      case 'd':
      case 'i':
      case 'x':
      case 'X':
      case 'o':
        return ShowInteger(field, value);
      case 'e':
      case 'f':
      case 'g':
        return ShowFloat(field, value);
      default:
        return Broken(absl::StrCat("unsupported format character '", std::string(1, field.conversion), "'"));
    }
  }

  // C's printf writes numbers as Python does, once it is told the type.
  std::string Specification(const Field& field, absl::string_view type) {
    std::string specification = absl::StrCat("%", field.flags);
    if (field.width > 0) absl::StrAppend(&specification, field.width);
    if (field.precision.has_value()) absl::StrAppend(&specification, ".", *field.precision);
    return absl::StrCat(specification, type, std::string(1, field.conversion));
  }

  absl::StatusOr<Text> ShowInteger(const Field& field, const Value& value) {
    const std::optional<double> number = value.AsNumber();
    if (!number.has_value())
      return Broken(absl::StrCat("%", std::string(1, field.conversion), " needs a number"));
    if (!(*number > -9.2e18 && *number < 9.2e18)) return Broken("a number of a format is too large");
    const long long integer = value.AsInt().value_or(static_cast<int64_t>(*number));
    if (integer < 0 && field.conversion != 'd' && field.conversion != 'i') {
      return Broken("%x and %o need a number of at least 0");
    }
    char buffer[kMostWidth + 64];
    const int size = std::snprintf(buffer, sizeof(buffer), Specification(field, "ll").c_str(), integer);
    return Text::Own(std::string(buffer, static_cast<size_t>(size)));
  }

  absl::StatusOr<Text> ShowFloat(const Field& field, const Value& value) {
    const std::optional<double> number = value.AsNumber();
    if (!number.has_value())
      return Broken(absl::StrCat("%", std::string(1, field.conversion), " needs a number"));
    char buffer[2 * kMostWidth + 512];
    const int size = std::snprintf(buffer, sizeof(buffer), Specification(field, "").c_str(), *number);
    return Text::Own(std::string(buffer, static_cast<size_t>(size)));
  }

  RenderState& state_;
  const Text& format_;
  const std::string_view text_;
  const Arguments& values_;
  Text out_;
  size_t at_ = 0;
  size_t next_ = 0;
};

class BraceFormatter {
 public:
  BraceFormatter(RenderState& state, const Text& format, const Arguments& values)
      : state_(state), format_(format), text_(format.bytes()), values_(values) {}

  absl::StatusOr<Text> Run() {
    while (at_ < text_.size()) {
      const size_t brace = std::min(text_.find_first_of("{}", at_), text_.size());
      out_.Append(format_, at_, brace);
      at_ = brace;
      if (at_ < text_.size()) TERNION_RETURN_IF_ERROR(ReadBrace());
    }
    return std::move(out_);
  }

 private:
  absl::Status ReadBrace() {
    if (text_.substr(at_ + 1, 1) == text_.substr(at_, 1)) {  // {{ or }}
      out_.Append(format_, at_, at_ + 1);
      at_ += 2;
      return absl::OkStatus();
    }
    const size_t end = text_.find('}', at_);
    if (text_[at_] == '}' || end == kNowhere) return Broken("a brace of the format has no other");
    TERNION_ASSIGN_OR_RETURN(const Value* value, FindValue(text_.substr(at_ + 1, end - at_ - 1)));
    TERNION_RETURN_IF_ERROR(state_.Spend(value->weight()));
    out_.Append(Str(*value));
    at_ = end + 1;
    return absl::OkStatus();
  }

  absl::StatusOr<const Value*> FindValue(std::string_view field) {
    if (field.find_first_of(".[!:{") != kNowhere) {
      return Broken(
          absl::StrCat("the field {", ToAbsl(field), "} is not supported: write {}, {0} or {name}"));
    }
    size_t index = 0;
    const bool numbered = absl::SimpleAtoi(ToAbsl(field), &index);
    if (field.empty()) index = next_++;
    if ((field.empty() || numbered) && index < values_.positional.size()) return &values_.positional[index];
    const Value* named = FindNamed(values_, field);
    if (named != nullptr) return named;
    return Broken(absl::StrCat("the format's field {", ToAbsl(field), "} has no argument"));
  }

  RenderState& state_;
  const Text& format_;
  const std::string_view text_;
  const Arguments& values_;
  Text out_;
  size_t at_ = 0;
  size_t next_ = 0;
};

}  // namespace

absl::StatusOr<Text> FormatPercent(RenderState& state, const Text& format, const Arguments& values) {
  return PercentFormatter(state, format, values).Run();
}

absl::StatusOr<Text> FormatBraces(RenderState& state, const Text& format, const Arguments& values) {
  return BraceFormatter(state, format, values).Run();
}

}  // namespace ternion::jinja
