// A GGUF file: its directory, what it says of the model, its tokenizer, and its tensors' bytes.
#include "runtime/checkpoint/gguf.h"
#include "runtime/checkpoint/gguf_config.h"
#include "runtime/text/gguf_tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto gguf = ternion::Gguf::Parse({reinterpret_cast<const std::byte*>(data), size}, "fuzz.gguf");
  if (!gguf.ok()) return 0;
  (void)ternion::ReadGgufConfig(*gguf);
  (void)ternion::GgufChatTemplate(*gguf);
  const auto tokenizer = ternion::MakeGgufTokenizer(*gguf);
  if (tokenizer.ok()) (void)(*tokenizer)->Encode("Fuzz, 123 + \xc3\xa9\n", true);
  volatile unsigned sum = 0;
  for (const ternion::GgufTensor& tensor : gguf->tensors()) {
    for (const std::byte byte : tensor.data) sum = sum + static_cast<unsigned>(byte);
  }
  return 0;
}
