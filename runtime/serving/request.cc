#include "runtime/serving/request.h"

#include "kernels/check.h"

namespace ternion {

std::string_view FinishReasonName(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStop:
      return "stop";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kCancelled:
      return "abort";
  }
  CHECK(false, "not a finish reason");
}

}  // namespace ternion
