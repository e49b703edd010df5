#include "net/request_id.h"

#include <algorithm>
#include <random>

#include "absl/strings/ascii.h"
#include "absl/strings/str_format.h"

namespace ternion {

std::string MakeRequestId() {
  std::random_device device;
  return absl::StrFormat("%08x%08x%08x%08x", device(), device(), device(), device());
}

std::string RequestIdFrom(std::string_view sent) {
  constexpr size_t kMostLength = 128;
  const bool fit =
      !sent.empty() && sent.size() <= kMostLength &&
      std::all_of(sent.begin(), sent.end(), [](unsigned char c) { return absl::ascii_isgraph(c); });
  return fit ? std::string(sent) : MakeRequestId();
}

}  // namespace ternion
