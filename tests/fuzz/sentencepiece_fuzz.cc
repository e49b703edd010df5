// A tokenizer.model, and then a text through it: the input's end behind a line "====", or what stands here.
#include <string_view>

#include "runtime/text/sentencepiece_tokenizer.h"
#include "tests/fuzz/fuzz_input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view bytes = ternion::AsText(data, size);
  std::string_view sample = "Fuzz, don't  123 + \xc3\xa9\n <s>\xe2\x96\x81";
  constexpr std::string_view kCut = "\n====\n";
  if (const size_t cut = bytes.rfind(kCut); cut != bytes.npos) {
    sample = bytes.substr(cut + kCut.size());
    bytes = bytes.substr(0, cut);
  }
  auto model = ternion::SentencePieceModel::Parse(bytes);
  if (!model.ok()) return 0;
  ternion::SentencePieceSettings settings;
  settings.prefix_everywhere = size % 2 == 0;
  const auto tokenizer = ternion::MakeSentencePieceTokenizer(*std::move(model), settings, "tokenizer.model");
  if (!tokenizer.ok()) return 0;
  (void)(*tokenizer)->EncodePlain(sample);
  const auto ids = (*tokenizer)->Encode(sample, true);
  if (ids.ok()) (void)(*tokenizer)->Decode(*ids, false);
  return 0;
}
