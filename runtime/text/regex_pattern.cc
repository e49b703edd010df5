#include "runtime/text/regex_pattern.h"

#include <array>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "kernels/status.h"
#include "runtime/text/unicode_additions.h"

namespace ternion {
namespace {

class Translator {
 public:
  explicit Translator(std::string_view pattern) : pattern_(pattern) {}

  absl::StatusOr<std::string> Run() {
    while (at_ < pattern_.size()) TERNION_RETURN_IF_ERROR(in_class_ ? ClassItem() : Item());
    return std::move(out_);
  }

 private:
  absl::Status Item() {
    switch (pattern_[at_]) {
      case '\\':
        return Escape();
      case '[':
        return OpenClass();
      case '(':
        return OpenGroup();
      case '^':
      case '$':
        return Unknown(1);  // Oniguruma's hold at every line
      case '{':
        return StartsWith("{,") ? Unknown(2) : Keep(1);
      case '}':
        return StartsWith("}+") ? Unknown(2) : Keep(1);  // PCRE2 would not give back what it took
      default:
        return Keep(1);
    }
  }

  absl::Status ClassItem() {
    if (pattern_[at_] == '\\') return Escape();
    if (pattern_[at_] == '[') return Unknown(1);
    if (StartsWith("&&")) return Unknown(2);
    if (pattern_[at_] == ']') in_class_ = false;
    return Keep(1);
  }

  absl::Status OpenClass() {
    if (StartsWith("[]") || StartsWith("[^]")) return Unknown(3);
    in_class_ = true;
    return Keep(StartsWith("[^") ? 2 : 1);
  }

  absl::Status OpenGroup() {
    if (!StartsWith("(?")) return StartsWith("(*") ? Unknown(2) : Keep(1);
    for (const std::string_view known : {"(?:", "(?=", "(?!", "(?>", "(?<=", "(?<!", "(?i:"}) {
      if (StartsWith(known)) return Keep(known.size());
    }
    return Unknown(4);
  }

  absl::Status Escape() {
    if (at_ + 1 == pattern_.size()) return Unknown(1);
    const char c = pattern_[at_ + 1];
    if (c == 'p' || c == 'P') return Category(c == 'P');
    if (c == 's' || c == 'S') return Replace(2, c == 's' ? "\\p{White_Space}" : "\\P{White_Space}");
    if (c == 'u') return CodePoint();
    if (StartsWith("\\x{")) return Keep(3);
    const bool alike = std::string_view("rntfdD").find(c) != std::string_view::npos;
    return alike || absl::ascii_ispunct(static_cast<unsigned char>(c)) ? Keep(2) : Unknown(2);
  }

  absl::Status Category(bool negated) {
    const size_t end = pattern_.find('}', at_);
    if (pattern_.substr(at_ + 2, 1) != "{" || end == std::string_view::npos) return Unknown(3);
    const std::string_view name = pattern_.substr(at_ + 3, end - at_ - 3);
    if (!IsCategory(name) || (negated && in_class_)) return Unknown(end + 1 - at_);
    const std::string set = absl::StrCat("\\p{", ToAbsl(name), "}", CategoryAdditions(name));
    if (in_class_) return Replace(end + 1 - at_, set);
    return Replace(end + 1 - at_, absl::StrCat(negated ? "[^" : "[", set, "]"));
  }

  absl::Status CodePoint() {
    const std::string_view digits = pattern_.substr(at_ + 2, 4);
    for (const char digit : digits) {
      if (!absl::ascii_isxdigit(static_cast<unsigned char>(digit))) return Unknown(6);
    }
    return digits.size() < 4 ? Unknown(6) : Replace(6, absl::StrCat("\\x{", ToAbsl(digits), "}"));
  }

  bool StartsWith(std::string_view prefix) const { return pattern_.substr(at_, prefix.size()) == prefix; }

  absl::Status Keep(size_t bytes) { return Replace(bytes, pattern_.substr(at_, bytes)); }

  absl::Status Replace(size_t bytes, std::string_view replacement) {
    out_ += replacement;
    at_ += bytes;
    return absl::OkStatus();
  }

  absl::Status Unknown(size_t bytes) const {
    return absl::UnimplementedError(absl::StrCat("the regular expression's \"",
                                                 ToAbsl(pattern_.substr(at_, bytes)), "\" at byte ", at_,
                                                 " is not supported"));
  }

  std::string_view pattern_;
  std::string out_;
  size_t at_ = 0;
  bool in_class_ = false;
};

}  // namespace

absl::StatusOr<std::string> ToPcre2(std::string_view pattern) { return Translator(pattern).Run(); }

}  // namespace ternion
