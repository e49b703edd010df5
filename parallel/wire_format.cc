#include "absl/strings/str_cat.h"
#include "kernels/check.h"
#include "kernels/status.h"
#include "parallel/tensor_parallel.h"

namespace ternion {

absl::StatusOr<WireFormat> ParseWireFormat(std::string_view name) {
  for (const WireFormat format : {WireFormat::kExact, WireFormat::kInt8, WireFormat::kInt4}) {
    if (name == WireFormatName(format)) return format;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("unknown wire format \"", ToAbsl(name), "\"; it is one of exact, int8, int4"));
}

std::string_view WireFormatName(WireFormat format) {
  switch (format) {
    case WireFormat::kExact:
      return "exact";
    case WireFormat::kInt8:
      return "int8";
    case WireFormat::kInt4:
      return "int4";
  }
  CHECK(false, "a wire format has one of three values");
}

int64_t WireRowBytes(WireFormat format, int64_t channels) {
  switch (format) {
    case WireFormat::kExact:
      return channels * static_cast<int64_t>(sizeof(float));
    case WireFormat::kInt8:
      return WireRowBytesInt8(channels);
    case WireFormat::kInt4:
      return WireRowBytesInt4(channels);
  }
  CHECK(false, "a wire format has one of three values");
}

}  // namespace ternion
