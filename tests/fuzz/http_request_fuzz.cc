// A request as it comes over a connection: its line, and its body as both endpoints read it.
#include "net/openai_request.h"
#include "net/router.h"
#include "tests/fuzz/fuzz_input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text = ternion::AsText(data, size);
  const size_t end = text.find('\n');
  const std::string_view line = text.substr(0, end);
  const size_t blank = line.find(' ');
  if (blank != line.npos) (void)ternion::FindRoute(line.substr(0, blank), line.substr(blank + 1));
  const std::string_view body = end == text.npos ? text : text.substr(end + 1);
  for (const ternion::Endpoint endpoint : {ternion::Endpoint::kCompletions, ternion::Endpoint::kChat}) {
    (void)ternion::ParseOpenAiRequest(endpoint, body);
  }
  return 0;
}
