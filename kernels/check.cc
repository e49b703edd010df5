#include "kernels/check.h"

#include <cstdio>
#include <cstdlib>
#include <string>

namespace ternion {
namespace {

std::string& Tag() {
  static std::string tag = "ternion";
  return tag;
}

}  // namespace

void CheckFailed(const char* file, int line, const char* condition, std::string_view message) {
  std::fprintf(stderr, "%s: %s:%d: check failed: %s: %.*s\n", Tag().c_str(), file, line, condition,
               static_cast<int>(message.size()), message.data());
  std::abort();
}

void SetCheckTag(std::string_view tag) { Tag() = tag; }

}  // namespace ternion
