// A converted folder's ternion.json: what is accepted reads back as it was.
#include <string>
#include <string_view>

#include "kernels/check.h"
#include "runtime/checkpoint/converted_manifest.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto manifest = ternion::ConvertedManifest::Parse(text, "fuzz");
  if (!manifest.ok()) return 0;
  const auto again = ternion::ConvertedManifest::Parse(manifest->ToJson(), "again");
  CHECK(again.ok() && *again == *manifest, "a manifest reads back as it was");
  return 0;
}
