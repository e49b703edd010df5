#pragma once

#include <string_view>

#include "runtime/text/jinja/builtin.h"
#include "runtime/text/jinja/value.h"

namespace ternion::jinja {

// The method of this name that a value of Python's has, as far as it changes nothing; null for none.
const Builtin* FindMethod(const Value& self, std::string_view name);

const Builtin* FindTextMethod(std::string_view name);

}  // namespace ternion::jinja
