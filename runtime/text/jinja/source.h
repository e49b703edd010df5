#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"

namespace ternion::jinja {

// A template's text (UTF-8): every line ends with \n, and a last one is gone, as Jinja wants it.
class Source {
 public:
  explicit Source(std::string_view text);

  const std::string& text() const { return text_; }
  int LineOf(size_t at) const;  // from 1
  // kInvalidArgument: "line 3, column 5: message".
  absl::Status Fail(size_t at, std::string_view message) const;

 private:
  std::string text_;
  std::vector<size_t> lines_;  // where each begins
};

}  // namespace ternion::jinja
