#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "runtime/text/completion_text.h"
#include "runtime/text/protobuf_wire.h"
#include "runtime/text/sentencepiece_tokenizer.h"
#include "tests/support/temp_folder.h"

namespace ternion {
namespace {

using nlohmann::json;
using Ids = std::vector<int32_t>;

const std::string& Llama2() {
  static const auto* const bytes = [] {
    std::ifstream file(TERNION_SOURCE_DIR "/tests/data/tokenizer/llama2.model", std::ios::binary);
    return new std::string{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  }();
  return *bytes;
}

SentencePieceModel Model() { return SentencePieceModel::Parse(Llama2()).value(); }

absl::StatusOr<std::unique_ptr<Tokenizer>> LoadWith(const json& config, const json& added = nullptr) {
  const TempFolder folder;
  folder.Write("tokenizer.model", Llama2());
  if (!config.is_null()) folder.Write("tokenizer_config.json", config.dump());
  if (!added.is_null()) folder.Write("added_tokens.json", added.dump());
  return LoadSentencePieceTokenizer(folder.path());
}

std::unique_ptr<Tokenizer> Load(const json& config = nullptr, const json& added = nullptr) {
  auto tokenizer = LoadWith(config, added);
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  return *std::move(tokenizer);
}

TEST(SentencePiece, KnowsItsTokens) {
  const auto tokenizer = Load();
  EXPECT_EQ(tokenizer->vocab_size(), 900);
  EXPECT_EQ(tokenizer->TokenId("<s>"), 1);
  EXPECT_EQ(tokenizer->TokenBytes(1), "<s>");
  EXPECT_TRUE(tokenizer->IsSpecial(0) && tokenizer->IsSpecial(1) && tokenizer->IsSpecial(2));
  EXPECT_EQ(tokenizer->TokenBytes(*tokenizer->TokenId("<0x0A>")), "\n");
  EXPECT_EQ(tokenizer->TokenBytes(*tokenizer->TokenId("<0xFF>")), "\xFF");
  EXPECT_EQ(tokenizer->TokenBytes(*tokenizer->TokenId("\u2581")), " ");
  EXPECT_EQ(tokenizer->TokenBytes(900), "");
  EXPECT_EQ(tokenizer->TokenId("\u2581no such piece"), std::nullopt);
}

TEST(SentencePiece, DecodesWhatItEncoded) {
  const auto tokenizer = Load();
  for (const std::string text :
       {"", " ", "a", "  two spaces", "caf\u00e9 \U0001F600\r\n\t\u4f60<0x0A>", "a <s> b</s>"}) {
    EXPECT_EQ(tokenizer->Decode(*tokenizer->EncodePlain(text), /*skip_special=*/true), text);
    EXPECT_EQ(tokenizer->Decode(*tokenizer->Encode(text, true), false).substr(0, 3), "<s>");
  }
}

// A text that goes on keeps its space: the decoder drops one where the text begins.
TEST(SentencePiece, CompletionTextIsTheBytesOfTheTokens) {
  const auto tokenizer = Load();
  const Ids ids = *tokenizer->EncodePlain("the \U0001F600");
  CompletionText completion(*tokenizer, {});
  std::string shown;
  for (const int32_t id : ids) shown += completion.Push(id);
  EXPECT_EQ(shown + completion.Finish(), " the \U0001F600");
}

TEST(SentencePiece, PlainTextHasNoSpecialTokens) {
  const auto tokenizer = Load();
  const std::string text = "<s>x</s><unk>";
  const Ids plain = *tokenizer->EncodePlain(text);
  for (const int32_t id : plain) EXPECT_FALSE(tokenizer->IsSpecial(id)) << id;
  const Ids ids = *tokenizer->Encode(text, false);
  EXPECT_EQ(ids.front(), 1);
  EXPECT_EQ(ids.back(), 0);
  const Ids mixed = *tokenizer->EncodeMixed(text, {{0, 1}});
  EXPECT_EQ(std::count(mixed.begin(), mixed.end(), 1), 0);
  EXPECT_EQ(std::count(mixed.begin(), mixed.end(), 2), 1);
}

TEST(SentencePiece, ReadsTheConfigBesideIt) {
  const auto ends = [](const json& config) {
    const Ids ids = *Load(config)->Encode("x", true);
    return std::pair(ids.front(), ids.back());
  };
  const int32_t x = Load()->EncodePlain("x")->back();
  EXPECT_EQ(ends(nullptr), std::pair(1, x));
  EXPECT_EQ(ends({{"add_bos_token", false}}).first, Load()->EncodePlain("x")->front());
  EXPECT_EQ(ends({{"add_eos_token", true}}), std::pair(1, 2));
  EXPECT_EQ(ends({{"bos_token", "</s>"}}), std::pair(2, x));
  EXPECT_EQ(ends({{"bos_token", {{"content", "</s>"}}}}), std::pair(2, x));
  EXPECT_EQ(Load({{"add_prefix_space", false}})->Encode("x", false)->size(), 1u);
}

TEST(SentencePiece, PutsTheSpaceInFrontWhereTheConfigSays) {
  const auto encode = [](const json& config) { return *Load(config)->Encode("<s>x", false); };
  const auto tokenizer = Load();
  EXPECT_EQ(encode({{"legacy", true}}), encode(nullptr));
  EXPECT_EQ(encode(nullptr), (Ids{1, *tokenizer->TokenId("\u2581x")}));
  EXPECT_EQ(encode({{"legacy", false}}), (Ids{1, *tokenizer->TokenId("x")}));
}

TEST(SentencePiece, TakesAddedTokens) {
  const int32_t the = *Load()->TokenId("\u2581the");
  const json config = {{"added_tokens_decoder",
                        {{"900", {{"content", "<pad>"}, {"special", true}, {"rstrip", true}}},
                         {"901", {{"content", "<tool>"}}},
                         {std::to_string(the), {{"content", "\u2581the"}, {"special", true}}}}}};
  const auto tokenizer = Load(config, {{"<pad>", 900}, {"<old>", 902}});
  EXPECT_EQ(tokenizer->vocab_size(), 903);
  EXPECT_EQ(*tokenizer->Encode("<pad>  <tool><old>", false), (Ids{900, 901, 902}));
  EXPECT_TRUE(tokenizer->IsSpecial(900) && tokenizer->IsSpecial(902));
  EXPECT_FALSE(tokenizer->IsSpecial(901));
  const Ids plain = *tokenizer->EncodePlain(" the <pad>");
  EXPECT_EQ(std::count(plain.begin(), plain.end(), the), 0);  // special now
  EXPECT_EQ(Load()->EncodePlain("the")->front(), the);
}

TEST(SentencePiece, RefusesConfigsThatDoNotFit) {
  const auto message = [](const json& config, const json& added = nullptr) {
    return std::string(LoadWith(config, added).status().message());
  };
  const auto has = [](const std::string& text, const std::string& part) {
    return text.find(part) != text.npos;
  };
  EXPECT_TRUE(has(message({{"bos_token", "<bos>"}}), "bos_token \"<bos>\" is neither a control piece"));
  EXPECT_TRUE(has(message({{"added_tokens_decoder", {{"x", {{"content", "a"}}}}}}), "\"x\" is no id"));
  EXPECT_TRUE(
      has(message({{"added_tokens_decoder", {{"5", {{"content", "new"}}}}}}), "which another token has"));
  EXPECT_TRUE(
      has(message({{"added_tokens_decoder", {{"-1", {{"content", "new"}}}}}}), "ids are 0 to 4194303"));
  EXPECT_TRUE(has(message(nullptr, {{"<s>", 7}}), "has the id 7 here and 1 elsewhere"));
  EXPECT_TRUE(has(message({{"legacy", 1}}), "tokenizer_config.json: legacy: is neither true nor false"));
}

TEST(SentencePiece, WritesWhatItReads) {
  const SentencePieceModel model = Model();
  const SentencePieceModel again = SentencePieceModel::Parse(model.Serialize()).value();
  EXPECT_EQ(again.Serialize(), model.Serialize());
  EXPECT_EQ(again.pieces.size(), 900u);
  EXPECT_TRUE(again.byte_fallback);
  EXPECT_FALSE(again.remove_extra_whitespaces);
}

// Quadratic work here would take minutes.
TEST(SentencePiece, EncodesOneWordOfManyBytes) {
  const auto tokenizer = Load();
  for (const char* unit : {" ", "a", "=", "\u4f60"}) {
    std::string text;
    while (text.size() < 200000) text += unit;
    EXPECT_EQ(tokenizer->Decode(*tokenizer->EncodePlain(text), false), text);
  }
}

TEST(SentencePieceHostile, EveryCutIsRefusedOrSound) {
  for (size_t size = 0; size < Llama2().size(); size += 7) {
    const auto model = SentencePieceModel::Parse(Llama2().substr(0, size));
    ASSERT_TRUE(model.ok() || !model.status().message().empty());
  }
  EXPECT_EQ(SentencePieceModel::Parse("").status().message(),
            "has 0 unknown pieces among 0; it must have one");
}

TEST(SentencePieceHostile, FilesAreNamed) {
  const TempFolder folder;
  const std::string file = folder.Write("tokenizer.model", "{}").string();
  const auto cut = LoadSentencePieceTokenizer(folder.path());
  EXPECT_EQ(cut.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(std::string(cut.status().message()).compare(0, file.size() + 2, file + ": "), 0) << cut.status();
  EXPECT_EQ(LoadSentencePieceTokenizer("/no/such").status().code(), absl::StatusCode::kNotFound);
}

TEST(SentencePieceHostile, PiecesAreChecked) {
  const auto error = [](auto change) {
    SentencePieceModel model = Model();
    change(model);
    return std::string(MakeSentencePieceTokenizer(std::move(model), {}, "m").status().message());
  };
  using M = SentencePieceModel;
  EXPECT_EQ(error([](M& m) { m.pieces[300].text = ""; }), "m: piece 300: is empty");
  EXPECT_EQ(error([](M& m) { m.pieces[300].text = "\xC3"; }), "m: piece 300: is not UTF-8");
  EXPECT_EQ(error([](M& m) { m.pieces[300].text = std::string(1, '\0'); }),
            "m: piece 300: holds a zero byte");
  EXPECT_EQ(error([](M& m) { m.pieces[300].text = std::string(4097, 'a'); }),
            "m: piece 300: has 4097 bytes; it may have 4096");
  EXPECT_EQ(error([](M& m) { m.pieces[300].score = NAN; }),
            "m: piece 300: has a score that is no finite number");
  EXPECT_EQ(error([](M& m) { m.pieces[300].type = PieceType::kByte; }),
            "m: piece 300: has the type of bytes; these are <0x00> to <0xFF>");
  EXPECT_EQ(
      error([](M& m) { m.pieces[300].text = m.pieces[301].text; }).find("m: \"" + Model().pieces[301].text),
      0u);
  EXPECT_EQ(error([](M& m) { m.pieces[3].text = "<0x01>"; }),
            "m: has byte_fallback, but not one piece for each of the 256 bytes");
  EXPECT_EQ(error([](M& m) { m.pieces[1].type = PieceType::kUnknown; }),
            "m: has 2 unknown pieces among 900; it must have one");
  EXPECT_EQ(error([](M& m) {
              for (int i = 1; i <= 65; ++i)
                m.pieces.push_back({std::string(i, '~'), 0, PieceType::kUserDefined});
            }),
            "m: more than 64 user-defined pieces begin one another");
}

TEST(SentencePieceHostile, OptionsThatAreNotSupportedAreNamed) {
  const auto error = [](uint32_t part, auto write) {
    ProtobufWriter spec;
    write(spec);
    ProtobufWriter model;
    model.Bytes(part, spec.bytes());
    return SentencePieceModel::Parse(Llama2() + model.bytes()).status();
  };
  const auto unknown = [](const char* message) { return absl::UnimplementedError(message); };
  EXPECT_EQ(error(2, [](auto& spec) { spec.Varint(3, 3); }),
            unknown("trainer_spec.model_type is 3; only 1 (UNIGRAM) and 2 (BPE) are supported"));
  EXPECT_EQ(error(2, [](auto& spec) { spec.Varint(24, 1); }),
            unknown("trainer_spec.treat_whitespace_as_suffix is not supported"));
  EXPECT_EQ(error(3, [](auto& spec) { spec.Bytes(2, "map"); }).code(), absl::StatusCode::kUnimplemented);
  EXPECT_EQ(error(3, [](auto& spec) { spec.Varint(5, 0); }),
            unknown("normalizer_spec.escape_whitespaces false is not supported"));
}

}  // namespace
}  // namespace ternion
