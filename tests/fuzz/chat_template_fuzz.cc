// A chat template, rendered with a conversation.
#include <nlohmann/json.hpp>

#include "runtime/text/jinja/template.h"
#include "tests/fuzz/fuzz_input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto variables = nlohmann::json::parse(R"({
      "messages": [{"role": "system", "content": "S"}, {"role": "user", "content": "a {{ b }}"},
                   {"role": "assistant", "content": [{"type": "text", "text": "t"}]}],
      "add_generation_prompt": true, "bos_token": "<s>", "eos_token": "</s>", "tools": null, "n": 3, "x": 1.5})");
  ternion::jinja::Limits limits;
  limits.steps = 20'000;
  limits.work_bytes = 4 << 20;
  limits.output_bytes = 1 << 20;
  (void)ternion::jinja::RenderOnce(ternion::AsText(data, size), variables, limits);
  return 0;
}
