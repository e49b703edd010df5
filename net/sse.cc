#include "net/sse.h"

#include "absl/strings/str_cat.h"
#include "kernels/status.h"

namespace ternion {

void AppendSseEvent(std::string* out, std::string_view json) {
  absl::StrAppend(out, "data: ", ToAbsl(json), "\n\n");
}

}  // namespace ternion
