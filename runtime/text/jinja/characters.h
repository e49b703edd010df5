#pragma once

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/text/text_range.h"
#include "runtime/text/utf8.h"

namespace ternion::jinja {

// The characters (code points) of UTF-8, each with its bytes: for (std::string_view character : Characters(text)).
class Characters {
 public:
  class Iterator {
   public:
    using iterator_category = std::input_iterator_tag;
    using value_type = std::string_view;
    using difference_type = std::ptrdiff_t;
    using pointer = const std::string_view*;
    using reference = std::string_view;

    explicit Iterator(std::string_view rest) : rest_(rest) {}
    std::string_view operator*() const { return rest_.substr(0, FirstUtf8(rest_).bytes); }
    Iterator& operator++() {
      rest_.remove_prefix(FirstUtf8(rest_).bytes);
      return *this;
    }
    friend bool operator==(const Iterator& a, const Iterator& b) { return a.rest_.size() == b.rest_.size(); }

   private:
    std::string_view rest_;
  };

  explicit Characters(std::string_view text) : text_(text) {}
  Iterator begin() const { return Iterator(text_); }
  Iterator end() const { return Iterator(text_.substr(text_.size())); }

 private:
  std::string_view text_;
};

void AppendUtf8(uint32_t code_point, std::string& out);
int64_t CountCharacters(std::string_view text);
// The byte at which character `index` begins, from 0; the text's end for those behind it.
size_t ByteOfCharacter(std::string_view text, int64_t index);

// Python's str.isspace, which has four control characters more than Unicode's White_Space.
bool IsSpace(uint32_t code_point);
size_t LeadingSpace(std::string_view text);   // bytes
size_t TrailingSpace(std::string_view text);  // bytes

// Of one character; Unicode's categories.
bool IsPrintable(std::string_view character);  // as it is in Python's repr()
bool IsLetter(std::string_view character);
bool IsDigit(std::string_view character);
bool IsUpper(std::string_view character);
bool IsLower(std::string_view character);
bool IsWordCharacter(std::string_view character);  // \w

// Python's str.splitlines: the lines, with their ends where `keep_ends`.
std::vector<TextRange> Lines(std::string_view text, bool keep_ends);

}  // namespace ternion::jinja
