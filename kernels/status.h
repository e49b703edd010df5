#pragma once

#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

// absl::Status is for the world's faults. These macros pass one on.
#define TERNION_RETURN_IF_ERROR(expression)                                 \
  do {                                                                      \
    if (absl::Status status_ = (expression); !status_.ok()) return status_; \
  } while (false)

#define TERNION_CONCAT_INNER_(a, b) a##b
#define TERNION_CONCAT_(a, b) TERNION_CONCAT_INNER_(a, b)

// TERNION_ASSIGN_OR_RETURN(auto value, MakeValue());
#define TERNION_ASSIGN_OR_RETURN(target, expression) \
  TERNION_ASSIGN_OR_RETURN_(TERNION_CONCAT_(status_or_, __LINE__), target, expression)
#define TERNION_ASSIGN_OR_RETURN_(holder, target, expression) \
  auto holder = (expression);                                 \
  if (!holder.ok()) return std::move(holder).status();        \
  target = *std::move(holder)

namespace ternion {

// Abseil's packages may be built with a string_view of their own. The rule: our functions take
// std::string_view, and pass it to absl::StrCat and absl::Status through this.
inline absl::string_view ToAbsl(std::string_view text) { return {text.data(), text.size()}; }

}  // namespace ternion
