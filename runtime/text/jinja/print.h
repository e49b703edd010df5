#pragma once

#include <string>
#include <string_view>

#include "runtime/text/jinja/text.h"
#include "runtime/text/jinja/value.h"

namespace ternion::jinja {

// What `{{ value }}` shows: Python's str(). The text of a container is foreign; that of a number is own.
Text Str(const Value& value);

// Python's repr().
std::string Repr(const Value& value);
std::string FloatRepr(double number);

}  // namespace ternion::jinja
