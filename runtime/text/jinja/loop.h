#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "runtime/text/jinja/value.h"

namespace ternion::jinja {

struct For;
struct Scope;

// `loop` in the body of a for.
struct Loop {
  std::shared_ptr<const Sequence> sequence;  // what it goes through
  int64_t index0 = 0;
  int64_t depth0 = 0;                         // of a recursive loop in itself
  std::optional<std::vector<Value>> changed;  // what loop.changed saw last
  const For* recursive = nullptr;             // the statement, where `loop(...)` may run it again
  Scope* scope = nullptr;                     // around that statement
};

// index, last, nextitem, cycle and so on, of a value that is a loop; nothing when there is no such attribute.
std::optional<Value> LoopAttribute(const Value& loop, std::string_view name);

}  // namespace ternion::jinja
