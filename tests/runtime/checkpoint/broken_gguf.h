#pragma once

#include <functional>
#include <string>
#include <vector>

#include "tests/runtime/checkpoint/gguf_model_writer.h"

namespace ternion {

// GGUF files whose structure is sound and whose model is not, or that ask for memory; hostile_gguf_test has the others.
struct BrokenGguf {
  const char* name;
  uint32_t type;  // of the linear layers: I2_S makes a bitnet-b1.58 of it, the others a llama
  std::function<void(GgufTestFile&)> breaking;
  std::vector<std::string> says;
};
extern const std::vector<BrokenGguf> kBrokenGguf;

}  // namespace ternion
