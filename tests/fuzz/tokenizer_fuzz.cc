// A tokenizer.json, and then a text through it: the input's end behind a line "====", or what stands here.
#include <nlohmann/json.hpp>
#include <string_view>

#include "runtime/text/tokenizer.h"
#include "tests/fuzz/fuzz_input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view text = ternion::AsText(data, size);
  std::string_view sample = "Fuzz, don't 123 + \xc3\xa9\n <|end|>";
  constexpr std::string_view kCut = "\n====\n";
  if (const size_t cut = text.find(kCut); cut != text.npos) {
    sample = text.substr(cut + kCut.size());
    text = text.substr(0, cut);
  }
  const auto document = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (document.is_discarded()) return 0;
  const auto tokenizer = ternion::Tokenizer::FromJson(document, "tokenizer.json");
  if (!tokenizer.ok()) return 0;
  (void)(*tokenizer)->EncodePlain(sample);
  const auto ids = (*tokenizer)->Encode(sample, true);
  if (ids.ok()) (void)(*tokenizer)->Decode(*ids, false);
  return 0;
}
