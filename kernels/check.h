#pragma once

#include <string_view>

// CHECK is for our own faults: shapes, alignment, broken invariants. It prints the process's tag (its rank),
// the place and the message, then aborts the job. The world's faults (files, flags, sockets, clients) are
// absl::Status.
#define CHECK(condition, message)                                                      \
  do {                                                                                 \
    if (!(condition)) ::ternion::CheckFailed(__FILE__, __LINE__, #condition, message); \
  } while (false)

namespace ternion {

[[noreturn]] void CheckFailed(const char* file, int line, const char* condition, std::string_view message);

// What a failed CHECK prints before its message, such as "rank 3". Set once, in main.
void SetCheckTag(std::string_view tag);

}  // namespace ternion
