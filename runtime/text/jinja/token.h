#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace ternion::jinja {

struct Token {
  enum class Kind : uint8_t {
    kData,  // text between tags, as it is shown
    kVariableBegin,
    kVariableEnd,
    kBlockBegin,
    kBlockEnd,
    kName,
    kString,
    kInteger,
    kFloat,
    kOperator,
    kEnd,  // of the template
  };

  Kind kind;
  size_t at;         // the byte of the source where it begins
  std::string text;  // of data, a name or an operator; what a string's escapes stand for
  int64_t integer = 0;
  double number = 0;
};

}  // namespace ternion::jinja
