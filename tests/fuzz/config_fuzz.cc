// A model's config.json.
#include "runtime/model/config.h"
#include "tests/fuzz/fuzz_input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  (void)ternion::ParseModelConfig(ternion::AsText(data, size), "config.json");
  return 0;
}
