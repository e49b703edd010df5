// A request as it comes over a connection, in two pieces: its head, its line, and its body as both endpoints read it.
#include <algorithm>

#include "net/openai_request.h"
#include "net/request_head.h"
#include "net/router.h"
#include "tests/fuzz/fuzz_input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text = ternion::AsText(data, size);
  ternion::RequestHead head(size_t{16} << 10);
  if (!head.Push(text.substr(0, size / 2))) (void)head.Push(text);
  const size_t blank = text.find(' ');
  if (blank != text.npos) {
    const size_t end = std::min(text.find(' ', blank + 1), text.size());
    (void)ternion::FindRoute(text.substr(0, blank), text.substr(blank + 1, end - blank - 1));
  }
  const size_t body = text.find("\r\n\r\n");
  if (body == text.npos) return 0;
  for (const ternion::Endpoint endpoint : {ternion::Endpoint::kCompletions, ternion::Endpoint::kChat}) {
    (void)ternion::ParseOpenAiRequest(endpoint, text.substr(body + 4));
  }
  return 0;
}
