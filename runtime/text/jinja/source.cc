#include "runtime/text/jinja/source.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "kernels/status.h"
#include "runtime/text/jinja/characters.h"

namespace ternion::jinja {

Source::Source(std::string_view text) : lines_{0} {
  for (size_t i = 0; i < text.size(); ++i) {
    const bool windows = text[i] == '\r' && i + 1 < text.size() && text[i + 1] == '\n';
    if (!windows) text_ += text[i] == '\r' ? '\n' : text[i];
  }
  if (!text_.empty() && text_.back() == '\n') text_.pop_back();
  for (size_t i = 0; i < text_.size(); ++i) {
    if (text_[i] == '\n') lines_.push_back(i + 1);
  }
}

int Source::LineOf(size_t at) const {
  return static_cast<int>(std::upper_bound(lines_.begin(), lines_.end(), at) - lines_.begin());
}

absl::Status Source::Fail(size_t at, std::string_view message) const {
  const int line = LineOf(at);
  const size_t begin = lines_[line - 1];
  const int64_t column = CountCharacters(std::string_view(text_).substr(begin, at - begin)) + 1;
  return absl::InvalidArgumentError(absl::StrCat("line ", line, ", column ", column, ": ", ToAbsl(message)));
}

}  // namespace ternion::jinja
