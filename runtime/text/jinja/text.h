#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "runtime/text/text_range.h"

namespace ternion::jinja {

// UTF-8 that knows which of its bytes are foreign: they came from whoever sent the messages. The others are the
// template's own, and they alone may become special tokens. Whatever cuts and joins text keeps this byte by byte;
// what changes the bytes calls the whole result foreign unless all of its source was own.
class Text {
 public:
  Text() = default;
  static Text Own(std::string bytes);
  static Text Foreign(std::string bytes);
  // `bytes` were made of `source` in a way that does not tell where each came from.
  static Text MadeOf(std::string bytes, const Text& source);

  const std::string& bytes() const { return bytes_; }
  size_t size() const { return bytes_.size(); }
  bool empty() const { return bytes_.empty(); }
  // In order; neither empty nor touching one another.
  absl::Span<const TextRange> foreign() const { return foreign_; }
  bool all_own() const { return foreign_.empty(); }

  Text Substr(size_t begin, size_t end) const;
  void Append(const Text& text) { Append(text, 0, text.size()); }
  void Append(const Text& text, size_t begin, size_t end);
  void AppendOwn(std::string_view bytes) { bytes_ += bytes; }

 private:
  explicit Text(std::string bytes) : bytes_(std::move(bytes)) {}
  void MarkForeign(size_t begin, size_t end);

  std::string bytes_;
  std::vector<TextRange> foreign_;
};

}  // namespace ternion::jinja
