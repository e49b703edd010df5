#include "runtime/text/gguf_tokenizer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "runtime/text/gguf_pre_tokenizer.h"
#include "runtime/text/sentencepiece_tokenizer.h"
#include "tests/runtime/checkpoint/demo_gguf.h"
#include "tests/runtime/checkpoint/sound_gguf.h"
#include "tests/support/temp_folder.h"

namespace ternion {
namespace {

std::unique_ptr<Tokenizer> Make(const GgufTestFile& file) {
  const std::string bytes = file.Bytes();
  const auto gguf = Gguf::Parse(AsBytes(bytes), "model.gguf");
  EXPECT_TRUE(gguf.ok()) << gguf.status();
  auto tokenizer = MakeGgufTokenizer(*gguf);
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  return tokenizer.ok() ? *std::move(tokenizer) : nullptr;
}

// No tokenizer.ggml.pre and no add_bos_token: the vocabulary is known for Llama 3's.
TEST(GgufTokenizer, IsTheTokenizerItWasMadeFrom) {
  GgufTestFile file;
  AddDemoTokenizer(file);
  const std::unique_ptr<Tokenizer> gguf = Make(file);
  ASSERT_NE(gguf, nullptr);
  const auto json = Tokenizer::Load(std::string(TERNION_SOURCE_DIR) + "/configs/demo/tokenizer.json");
  ASSERT_TRUE(json.ok());
  EXPECT_EQ(gguf->vocab_size(), (*json)->vocab_size());
  for (int32_t id = 0; id < gguf->vocab_size(); ++id) {
    EXPECT_EQ(gguf->TokenBytes(id), (*json)->TokenBytes(id));
    EXPECT_EQ(gguf->IsSpecial(id), (*json)->IsSpecial(id));
  }
  for (const char* path : {"README.md", "docs/numerics.md", "runtime/text/pre_tokenizer.cc"}) {
    const std::string text = ReadSource(path) + "<|eot_id|> <|begin_of_text|>";
    EXPECT_EQ(*gguf->Encode(text, true), *(*json)->Encode(text, true));
    EXPECT_EQ(*gguf->EncodePlain(text), *(*json)->EncodePlain(text));
  }
}

TEST(GgufTokenizer, PutsInFrontAndBehindWhatTheFileSays) {
  GgufTestFile file = SoundGguf();
  const auto ids = [&] { return *Make(file)->Encode("abc", true); };
  EXPECT_EQ(ids(), (std::vector<int32_t>{5, 4}));
  file.Key("tokenizer.ggml.add_eos_token") = GgufBool(1);
  EXPECT_EQ(ids(), (std::vector<int32_t>{5, 4, 6}));
  file.Key("tokenizer.ggml.add_bos_token") = GgufBool(0);
  EXPECT_EQ(ids(), (std::vector<int32_t>{4, 6}));
  std::erase_if(file.keys, [](const auto& key) { return key.first.find("add_") != key.first.npos; });
  EXPECT_EQ(ids(), (std::vector<int32_t>{4}));
  file.Key("tokenizer.ggml.pre") = GgufText("llama-bpe");
  EXPECT_EQ(ids(), (std::vector<int32_t>{5, 4}));
}

TEST(GgufTokenizer, TakesTokensForWhatTheirTypesSay) {
  GgufTestFile file = SoundGguf();
  file.Key("tokenizer.ggml.token_type") = GgufI32s({1, 1, 1, 1, 4, 3, 2, 5});
  const std::unique_ptr<Tokenizer> tokenizer = Make(file);
  EXPECT_EQ(*tokenizer->Encode("ab", false), (std::vector<int32_t>{3}));
  EXPECT_EQ(*tokenizer->Encode("aabc<s></s>", false), (std::vector<int32_t>{0, 4, 5, 6}));
  EXPECT_EQ(*tokenizer->Encode("[PAD7]", false), std::vector<int32_t>());  // fills the vocabulary up, no more
  EXPECT_FALSE(tokenizer->IsSpecial(4));
  EXPECT_TRUE(tokenizer->IsSpecial(5));
  EXPECT_TRUE(tokenizer->IsSpecial(6));
  EXPECT_EQ(tokenizer->Decode({3, 4, 5, 7}, false), "ababc<s>");
}

TEST(GgufTokenizer, KnownWaysToCutWordsAllCompile) {
  for (const char* name : {"default",   "llama-bpe", "llama3",    "llama-v3",         "falcon3",
                           "falcon-h1", "dbrx",      "smaug-bpe", "falcon",           "gpt-2",
                           "phi-2",     "mpt",       "olmo",      "starcoder",        "refact",
                           "command-r", "smollm",    "qwen2",     "deepseek-r1-qwen", "stablelm2"}) {
    GgufTestFile file = SoundGguf();
    file.Key("tokenizer.ggml.pre") = GgufText(name);
    ASSERT_NE(Make(file), nullptr) << name;
    EXPECT_NE(FindGgufPreTokenizer(name), nullptr);
  }
  EXPECT_EQ(FindGgufPreTokenizer("bert-bge"), nullptr);
}

constexpr uint32_t kFloat32 = 6;  // type of a GGUF array

// As llama.cpp's converters write a tokenizer.model.
GgufTestFile Llama2Gguf() {
  const auto model = SentencePieceModel::Parse(ReadSource("tests/data/tokenizer/llama2.model")).value();
  std::vector<std::string> tokens;
  std::vector<int32_t> types;
  std::string scores;
  for (const SentencePiece& piece : model.pieces) {
    tokens.push_back(piece.text);
    types.push_back(static_cast<int32_t>(piece.type));
    scores += GgufNumber(piece.score);
  }
  GgufTestFile file;
  file.keys = {{"tokenizer.ggml.model", GgufText("llama")},
               {"tokenizer.ggml.tokens", GgufTexts(tokens)},
               {"tokenizer.ggml.scores", GgufArray(kFloat32, tokens.size(), scores)},
               {"tokenizer.ggml.token_type", GgufI32s(types)}};
  return file;
}

std::unique_ptr<Tokenizer> LoadLlama2() {
  const TempFolder folder;
  folder.Write("tokenizer.model", ReadSource("tests/data/tokenizer/llama2.model"));
  return LoadSentencePieceTokenizer(folder.path()).value();
}

TEST(GgufSentencePiece, IsTheTokenizerItWasMadeFrom) {
  const std::unique_ptr<Tokenizer> gguf = Make(Llama2Gguf());
  ASSERT_NE(gguf, nullptr);
  const std::unique_ptr<Tokenizer> model = LoadLlama2();
  ASSERT_EQ(gguf->vocab_size(), model->vocab_size());
  for (int32_t id = 0; id < gguf->vocab_size(); ++id) {
    EXPECT_EQ(gguf->TokenBytes(id), model->TokenBytes(id));
    EXPECT_EQ(gguf->IsSpecial(id), model->IsSpecial(id));
  }
  for (const char* path : {"README.md", "docs/numerics.md", "runtime/text/pre_tokenizer.cc"}) {
    const std::string text = ReadSource(path) + "<s> x</s>";
    EXPECT_EQ(*gguf->Encode(text, true), *model->Encode(text, true));
    EXPECT_EQ(*gguf->EncodePlain(text), *model->EncodePlain(text));
  }
}

TEST(GgufSentencePiece, ReadsWhatTheFileSays) {
  GgufTestFile file = Llama2Gguf();
  const auto ids = [&] { return *Make(file)->Encode("x", true); };
  const int32_t x = *Make(file)->TokenId("x");
  const int32_t space_x = *Make(file)->TokenId("\u2581x");
  EXPECT_EQ(ids(), (std::vector<int32_t>{1, space_x}));
  file.Key("tokenizer.ggml.add_space_prefix") = GgufBool(0);
  file.Key("tokenizer.ggml.add_eos_token") = GgufBool(1);
  EXPECT_EQ(ids(), (std::vector<int32_t>{1, x, 2}));
  file.Key("tokenizer.ggml.eos_token_id") = GgufU32(static_cast<uint32_t>(x));  // no text becomes it any more
  file.Key("tokenizer.ggml.add_bos_token") = GgufBool(0);
  EXPECT_EQ(ids().back(), x);
  EXPECT_NE(Make(file)->EncodePlain("x")->front(), x);
}

TEST(GgufSentencePiece, UserDefinedTokensAreAdded) {
  GgufTestFile file = Llama2Gguf();
  std::vector<int32_t> types(900, 1);
  for (int32_t id = 0; id < 3; ++id) types[id] = 3;
  for (int32_t id = 3; id < 259; ++id) types[id] = 6;
  const int32_t the = *Make(file)->TokenId("the");
  const int32_t space_x = *Make(file)->TokenId("\u2581x");
  types[the] = 4;
  types[space_x] = 4;
  file.Key("tokenizer.ggml.token_type") = GgufI32s(types);
  const std::unique_ptr<Tokenizer> tokenizer = Make(file);
  EXPECT_EQ(*tokenizer->Encode("thethe", false), (std::vector<int32_t>{the, the}));
  EXPECT_EQ(tokenizer->Encode("the xy", false)->at(2), space_x);  // behind a space in front
  EXPECT_FALSE(tokenizer->IsSpecial(the));
}

TEST(GgufSentencePiece, RefusesWhatDoesNotFit) {
  const auto error = [](const char* key, std::string value) {
    GgufTestFile file = Llama2Gguf();
    file.Key(key) = std::move(value);
    const std::string bytes = file.Bytes();
    return std::string(MakeGgufTokenizer(*Gguf::Parse(AsBytes(bytes), "m")).status().message());
  };
  const auto has = [](const std::string& text, const std::string& part) {
    return text.find(part) != text.npos;
  };
  EXPECT_TRUE(has(error("tokenizer.ggml.scores", GgufArray(kFloat32, 1, GgufNumber(1.0f))),
                  "tokenizer.ggml.scores is [\"array of 1 f32\"]; there are 900 tokens, and each has one"));
  EXPECT_TRUE(has(error("tokenizer.ggml.token_type", GgufI32s(std::vector<int32_t>(900, 7))),
                  "token 0 has the type 7; types are 1 to 6"));
  EXPECT_TRUE(has(error("tokenizer.ggml.bos_token_id", GgufU32(900)), "tokenizer.ggml.bos_token_id is 900"));
  EXPECT_TRUE(has(error("tokenizer.ggml.unknown_token_id", GgufU32(3)),
                  "but not one piece for each of the 256 bytes"));
}

TEST(GgufTokenizer, ChatTemplatesAreOptional) {
  GgufTestFile file = SoundGguf();
  std::erase_if(file.keys, [](const auto& key) { return key.first == "tokenizer.chat_template"; });
  const std::string bytes = file.Bytes();
  EXPECT_EQ(GgufChatTemplate(*Gguf::Parse(AsBytes(bytes), "model.gguf")), "");
}

TEST(GgufTokenizer, ChatTemplatesKnowTheSpecialTokens) {
  GgufTestFile file;
  AddDemoTokenizer(file);
  file.Key("tokenizer.chat_template") = GgufText("{{ bos_token }}");
  const auto read = [&] {
    const std::string bytes = file.Bytes();
    return ReadGgufChatTemplate(*Gguf::Parse(AsBytes(bytes), "model.gguf"));
  };
  const auto sound = read();
  ASSERT_TRUE(sound.ok()) << sound.status();
  EXPECT_EQ(sound->file, "model.gguf: tokenizer.chat_template");
  EXPECT_EQ(sound->source, "{{ bos_token }}");
  ASSERT_EQ(sound->special_tokens.size(), 2u);
  EXPECT_EQ(sound->special_tokens[0],
            std::make_pair(std::string("bos_token"), std::string("<|begin_of_text|>")));
  EXPECT_EQ(sound->special_tokens[1].first, "eos_token");
  file.Key("tokenizer.ggml.padding_token_id") = GgufU32(4096);
  const auto wrong = read();
  EXPECT_EQ(wrong.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(wrong.status().message().find("tokenizer.ggml.padding_token_id"), absl::string_view::npos);
}

}  // namespace
}  // namespace ternion
