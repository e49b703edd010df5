// Small GGUF files against an independent reading of them (tests/tools/make_gguf_goldens.py).
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "runtime/checkpoint/gguf.h"
#include "runtime/checkpoint/gguf_ternary.h"
#include "runtime/checkpoint/safetensors.h"
#include "runtime/model/weights.h"
#include "runtime/text/gguf_tokenizer.h"
#include "tests/runtime/checkpoint/gguf_writer.h"
#include "tests/support/whole_logits.h"

namespace ternion {
namespace {

const std::string kFolder = std::string(TERNION_SOURCE_DIR) + "/tests/data/gguf/";

template <typename T>
std::vector<T> Golden(const std::string& name) {
  static const auto* const file = new auto(
      *SafetensorsFile::Open(std::string(TERNION_SOURCE_DIR) + "/tests/data/gguf/golden.safetensors"));
  const FileTensor* tensor = (*file)->Find(name);
  EXPECT_NE(tensor, nullptr) << name;
  std::vector<T> values(tensor->data.size() / sizeof(T));
  std::memcpy(values.data(), tensor->data.data(), tensor->data.size());
  return values;
}

std::vector<float> Decode(const Gguf& gguf, const GgufTensor& tensor) {
  const GgmlType& type = *tensor.type;
  const int64_t blocks = tensor.sides[0] * tensor.sides[1] / type.values;
  const auto* bytes = reinterpret_cast<const uint8_t*>(tensor.data.data());
  std::vector<float> values(static_cast<size_t>(blocks * type.values));
  if (type.decode_floats != nullptr) {
    type.decode_floats(bytes, blocks, values.data());
    return values;
  }
  std::vector<uint8_t> codes(values.size());
  for (int64_t i = 0; i < blocks; ++i)
    type.decode_trits(bytes + i * type.bytes, codes.data() + i * type.values);
  const float scale = *GgufScale(gguf, tensor);
  std::transform(codes.begin(), codes.end(), values.begin(),
                 [&](uint8_t code) { return scale * (code - 1.0f); });
  return values;
}

TEST(GgufGolden, EveryTypeHasThePackagesValues) {
  const auto file = GgufFile::Open(kFolder + "types.gguf");
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->contents.tensors().size(), 8u);
  for (const GgufTensor& tensor : file->contents.tensors()) {
    EXPECT_EQ(tensor.name, tensor.type->name);
    EXPECT_EQ(Decode(file->contents, tensor), Golden<float>("type." + std::string(tensor.name)))
        << tensor.name;
  }
}

TEST(GgufGolden, ModelsGiveTheLogitsOfAPlainForwardPass) {
  for (const std::string name : {"bitnet", "llama"}) {
    const auto source = OpenGguf(kFolder + name + ".gguf");
    ASSERT_TRUE(source.ok()) << source.status();
    const auto want = Golden<float>(name + ".logits");
    const auto logits = WholeLogits(**source, Golden<int32_t>(name + ".ids"));
    ASSERT_TRUE(logits.ok()) << logits.status();
    const std::vector<float>& got = *logits;
    ASSERT_EQ(got.size(), want.size());
    const auto [least, most] = std::minmax_element(want.begin(), want.end());
    float error = 0;
    for (size_t i = 0; i < want.size(); ++i) error = std::max(error, std::abs(got[i] - want[i]));
    EXPECT_LT(error, 5e-3f * (*most - *least)) << name;
    RecordProperty(name + "_error", std::to_string(error / (*most - *least)));
  }
}

nlohmann::json Texts() {
  std::ifstream file(kFolder + "golden.json");
  return nlohmann::json::parse(file);
}

void ExpectIds(const Tokenizer& tokenizer, const nlohmann::json& text) {
  const auto ids = tokenizer.Encode(text["text"].get<std::string>(), /*add_special=*/true);
  ASSERT_TRUE(ids.ok()) << ids.status();
  EXPECT_EQ(*ids, text["ids"].get<std::vector<int32_t>>()) << text["pre"] << ": " << text["text"];
}

TEST(GgufGolden, TheTokenizerGivesTheIdsOfHuggingFaces) {
  const auto file = GgufFile::Open(kFolder + "bitnet.gguf");
  ASSERT_TRUE(file.ok()) << file.status();
  const auto tokenizer = MakeGgufTokenizer(file->contents);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  for (const nlohmann::json& text : Texts()) {
    if (text["pre"] == "llama-bpe") ExpectIds(**tokenizer, text);
  }
  EXPECT_EQ(GgufChatTemplate(file->contents), "{{ bos_token }}{{ messages[0].content }}");
}

// The same vocabulary, with words cut in another way.
std::unique_ptr<Tokenizer> WithCuts(const std::string& pre) {
  const auto file = GgufFile::Open(kFolder + "bitnet.gguf");
  const GgufMetadata& metadata = file->contents.metadata();
  const auto texts = [&](const char* key) {
    const auto views = *metadata.Strings(key);
    return GgufTexts(std::vector<std::string>(views.begin(), views.end()));
  };
  GgufTestFile other;
  other.Key("tokenizer.ggml.model") = GgufText("gpt2");
  other.Key("tokenizer.ggml.pre") = GgufText(pre);
  other.Key("tokenizer.ggml.tokens") = texts("tokenizer.ggml.tokens");
  other.Key("tokenizer.ggml.token_type") = GgufI32s(*metadata.Ints("tokenizer.ggml.token_type"));
  other.Key("tokenizer.ggml.merges") = texts("tokenizer.ggml.merges");
  other.Key("tokenizer.ggml.add_bos_token") = GgufBool(1);
  other.Key("tokenizer.ggml.bos_token_id") = GgufU32(metadata.values()["tokenizer.ggml.bos_token_id"]);
  const std::string bytes = other.Bytes();
  const auto gguf =
      Gguf::Parse({reinterpret_cast<const std::byte*>(bytes.data()), bytes.size()}, "cuts.gguf");
  EXPECT_TRUE(gguf.ok()) << gguf.status();
  auto tokenizer = MakeGgufTokenizer(*gguf);
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  return *std::move(tokenizer);
}

TEST(GgufGolden, OtherWaysToCutWordsGiveTheIdsOfHuggingFaces) {
  std::string last;
  std::unique_ptr<Tokenizer> tokenizer;
  for (const nlohmann::json& text : Texts()) {
    if (text["pre"] != last) tokenizer = WithCuts(text["pre"]);
    last = text["pre"];
    ExpectIds(*tokenizer, text);
  }
}

}  // namespace
}  // namespace ternion
