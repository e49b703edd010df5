#include "runtime/text/tokenizer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <thread>

#include "runtime/text/byte_level.h"
#include "tests/support/temp_folder.h"

namespace ternion {
namespace {

using nlohmann::json;

const char kDemo[] = TERNION_SOURCE_DIR "/configs/demo/tokenizer.json";
const char kLlama2[] = TERNION_SOURCE_DIR "/tests/data/tokenizer/llama2.json";
const char kSmall[] = TERNION_SOURCE_DIR "/tests/data/tokenizer/small.json";

const json& SmallJson() {
  static const json* const tree = new json(json::parse(std::ifstream(kSmall)));
  return *tree;
}

std::unique_ptr<Tokenizer> LoadFile(const char* file) {
  auto tokenizer = Tokenizer::Load(file);
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  return *std::move(tokenizer);
}

std::vector<int32_t> Encode(const Tokenizer& tokenizer, std::string_view text, bool add_special = false) {
  const auto ids = tokenizer.Encode(text, add_special);
  EXPECT_TRUE(ids.ok()) << ids.status();
  return *ids;
}

absl::Status LoadError(std::string_view content) {
  const TempFolder folder;
  const auto result = Tokenizer::Load(folder.Write("tokenizer.json", content));
  if (result.ok()) return absl::OkStatus();
  const std::string file = (folder.path() / "tokenizer.json").string();
  const std::string message(result.status().message());
  EXPECT_EQ(message.compare(0, file.size() + 2, file + ": "), 0) << message;
  return {result.status().code(), message.substr(std::min(message.size(), file.size() + 2))};
}

// Loads small.json with one value replaced.
absl::Status PatchError(const std::string& path, const json& value) {
  return LoadError(SmallJson().patch({{{"op", "add"}, {"path", path}, {"value", value}}}).dump());
}

absl::Status Invalid(std::string_view message) {
  return absl::InvalidArgumentError({message.data(), message.size()});
}
absl::Status Unknown(std::string_view message) {
  return absl::UnimplementedError({message.data(), message.size()});
}

TEST(Tokenizer, KnowsItsTokens) {
  const auto demo = LoadFile(kDemo);
  EXPECT_EQ(demo->vocab_size(), 4096);
  EXPECT_EQ(demo->TokenId("<|begin_of_text|>"), 4080);
  EXPECT_EQ(demo->TokenId("Ġthe"), demo->TokenId("\u0120the"));
  EXPECT_EQ(demo->TokenBytes(*demo->TokenId("Ġthe")), " the");
  EXPECT_EQ(demo->TokenBytes(4080), "<|begin_of_text|>");
  EXPECT_EQ(demo->TokenId("no such token"), std::nullopt);
  EXPECT_EQ(demo->TokenBytes(-1), "");
  EXPECT_EQ(demo->TokenBytes(4096), "");
  EXPECT_TRUE(demo->IsSpecial(4080));
  EXPECT_FALSE(demo->IsSpecial(0));
  EXPECT_FALSE(demo->IsSpecial(4096));
}

TEST(Tokenizer, DecodesWhatItEncoded) {
  const std::string text("The caf\u00e9 <|eot_id|>\r\n\t\u4f60\u597d\U0001f600\0x", 33);
  for (const char* file : {kDemo, kSmall}) {
    const auto tokenizer = LoadFile(file);
    EXPECT_EQ(tokenizer->Decode(Encode(*tokenizer, text), /*skip_special=*/false), text);
    EXPECT_EQ(tokenizer->Decode(*tokenizer->EncodePlain(text), /*skip_special=*/true), text);
  }
  const auto demo = LoadFile(kDemo);
  EXPECT_EQ(demo->Decode(Encode(*demo, "a<|eot_id|>b", true), /*skip_special=*/true), "ab");
  EXPECT_EQ(demo->Decode({-1, 99999}, false), "");
}

TEST(Tokenizer, AddsTheBosOnlyWhenAsked) {
  const auto demo = LoadFile(kDemo);
  EXPECT_EQ(Encode(*demo, "", true), std::vector<int32_t>{4080});
  EXPECT_EQ(Encode(*demo, "", false), std::vector<int32_t>{});
  EXPECT_EQ(*demo->EncodePlain(""), std::vector<int32_t>{});
}

TEST(Tokenizer, PlainTextHasNoSpecialTokens) {
  const auto demo = LoadFile(kDemo);
  for (int32_t special = 4080; special < 4096; ++special) {
    const std::string text = std::string(demo->TokenBytes(special)) + "x";
    EXPECT_EQ(Encode(*demo, text)[0], special);
    const auto plain = demo->EncodePlain(text);
    ASSERT_TRUE(plain.ok()) << plain.status();
    for (const int32_t id : *plain) EXPECT_FALSE(demo->IsSpecial(id)) << text;
  }
}

// Here the word is the special token: ignore_merges and no cuts at all.
TEST(Tokenizer, PlainTextHasNoSpecialTokensOfTheVocabulary) {
  json tree = SmallJson();
  tree["model"]["ignore_merges"] = true;
  tree["pre_tokenizer"]["use_regex"] = false;
  const TempFolder folder;
  const auto tokenizer = Tokenizer::Load(folder.Write("tokenizer.json", tree.dump()));
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  const auto ids = (*tokenizer)->EncodePlain("<|endoftext|>");
  EXPECT_GT(ids->size(), 1u);
  EXPECT_EQ((*tokenizer)->Decode(*ids, /*skip_special=*/true), "<|endoftext|>");
}

TEST(Tokenizer, KeepsTokensOutOfRangesThatAreToBePlain) {
  const auto demo = LoadFile(kDemo);
  const int32_t end = *demo->TokenId("<|eot_id|>");
  const std::string token = "<|eot_id|>";  // 10 bytes
  const std::string text = "ab" + token + "cd" + token;
  const auto mixed = [&](std::vector<TextRange> plain) { return demo->EncodeMixed(text, plain).value(); };
  const auto with = [&](const std::string& before, const std::string& after) {
    std::vector<int32_t> ids = demo->EncodePlain(before).value();
    ids.push_back(end);
    const std::vector<int32_t> rest = demo->EncodePlain(after).value();
    ids.insert(ids.end(), rest.begin(), rest.end());
    return ids;
  };
  EXPECT_EQ(mixed({}), Encode(*demo, text));
  EXPECT_EQ(mixed({{0, text.size()}}), demo->EncodePlain(text).value());
  EXPECT_EQ(mixed({{0, 2}, {12, 14}}), Encode(*demo, text));
  for (size_t byte = 2; byte < 12; ++byte) {
    EXPECT_EQ(mixed({{byte, byte + 1}}), with("ab" + token + "cd", "")) << byte;
    EXPECT_EQ(mixed({{0, 1}, {byte + 12, byte + 13}}), with("ab", "cd" + token)) << byte;
  }
  EXPECT_EQ(mixed({{0, 3}, {11, 14}}), with("ab" + token + "cd", ""));
  EXPECT_EQ(mixed({{3, 4}, {20, 21}}), demo->EncodePlain(text).value());
}

// small.json with `changes` to its fields.
std::unique_ptr<Tokenizer> LoadPatched(const json& changes, const char* file = kSmall) {
  json tree = json::parse(std::ifstream(file));
  tree.merge_patch(changes);
  auto tokenizer = Tokenizer::FromJson(tree, "tokenizer.json");
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  return *std::move(tokenizer);
}

json AddedToken(const char* content, int id, bool normalized) {
  return {{"content", content}, {"id", id},        {"single_word", false},    {"lstrip", false},
          {"rstrip", false},    {"special", true}, {"normalized", normalized}};
}

// "\u00e9nd" is looked for in normalized text, where "e\u0301nd" has become that.
TEST(Tokenizer, KeepsNormalizedTokensOutOfRangesThatAreToBePlain) {
  const int32_t end = 5000;
  const auto tokenizer =
      LoadPatched({{"normalizer", {{"type", "NFC"}}}, {"added_tokens", {AddedToken("\u00e9nd", end, true)}}});
  const std::string text = "o\u0308 e\u0301nd e\u0301nd";  // the tokens are bytes 4 to 9 and 10 to 15
  const auto count = [&](std::vector<TextRange> plain) {
    const std::vector<int32_t> ids = tokenizer->EncodeMixed(text, plain).value();
    return std::count(ids.begin(), ids.end(), end);
  };
  EXPECT_EQ(count({}), 2);
  EXPECT_EQ(count({{0, 4}, {9, 10}}), 2);
  EXPECT_EQ(count({{0, 15}}), 0);
  EXPECT_EQ(tokenizer->EncodeMixed(text, {{0, 15}}).value(), tokenizer->EncodePlain(text).value());
  for (size_t byte = 4; byte < 9; ++byte) {
    EXPECT_EQ(count({{byte, byte + 1}}), 1) << byte;
    EXPECT_EQ(count({{byte, byte + 1}, {byte + 6, byte + 7}}), 0) << byte;
  }
}

TEST(Tokenizer, DecodersDropWhatTheyPutInFront) {
  const json strip = {{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}};
  const json replace = {{"type", "Replace"}, {"pattern", {{"String", "\u2581"}}}, {"content", " "}};
  const auto decode = [](const json& decoder, std::vector<int32_t> ids, bool skip_special) {
    return LoadPatched({{"decoder", decoder}}, kLlama2)->Decode(ids, skip_special);
  };
  const auto tokenizer = LoadFile(kLlama2);
  const int32_t space = *tokenizer->TokenId("\u2581");
  const int32_t x = *tokenizer->TokenId("\u2581x");
  const json sequence = {{"type", "Sequence"}, {"decoders", {replace, {{"type", "Fuse"}}, strip}}};
  EXPECT_EQ(decode(sequence, {space, x, x}, true), " x x");
  EXPECT_EQ(decode(sequence, {1, x}, true), "x");
  EXPECT_EQ(decode(sequence, {1, x}, false), "<s> x");
  const json metaspace = {{"type", "Metaspace"}, {"replacement", "\u2581"}, {"prepend_scheme", "always"}};
  EXPECT_EQ(decode(metaspace, {space, x, x}, true), " x x");
  EXPECT_EQ(decode(metaspace, {x, space}, true), "x ");
  json never = metaspace;
  never["prepend_scheme"] = "never";
  EXPECT_EQ(decode(never, {x}, true), " x");
}

TEST(Tokenizer, RefusesTextThatIsNotUtf8) {
  const auto demo = LoadFile(kDemo);
  EXPECT_EQ(demo->Encode("abc\xC3(", true).status(), Invalid("the text is not UTF-8 at byte 3"));
  EXPECT_EQ(demo->EncodePlain("\xED\xA0\x80").status(), Invalid("the text is not UTF-8 at byte 0"));
}

// Merges as the definition says: the first of the list that fits anywhere, at its leftmost place.
std::vector<int32_t> MergeOneByOne(const std::map<std::pair<std::string, std::string>, int>& ranks,
                                   const std::string& word) {
  std::vector<std::string> symbols;
  for (const char byte : word) symbols.push_back(ToByteLevel({&byte, 1}));
  while (true) {
    std::pair<int, size_t> best = {INT32_MAX, 0};
    for (size_t i = 0; i + 1 < symbols.size(); ++i) {
      const auto found = ranks.find({symbols[i], symbols[i + 1]});
      if (found != ranks.end()) best = std::min(best, {found->second, i});
    }
    if (best.first == INT32_MAX) break;
    symbols[best.second] += symbols[best.second + 1];
    symbols.erase(symbols.begin() + static_cast<int64_t>(best.second) + 1);
  }
  std::vector<int32_t> ids;
  for (const std::string& symbol : symbols) ids.push_back(SmallJson()["model"]["vocab"][symbol]);
  return ids;
}

TEST(Tokenizer, MergesShortAndLongWordsByTheDefinition) {
  std::map<std::pair<std::string, std::string>, int> ranks;
  for (const std::string merge : SmallJson()["model"]["merges"]) {
    const size_t space = merge.find(' ');
    ranks.emplace(std::pair(merge.substr(0, space), merge.substr(space + 1)), static_cast<int>(ranks.size()));
  }
  json tree = SmallJson();
  tree["pre_tokenizer"]["use_regex"] = false;
  const TempFolder folder;
  const auto tokenizer = Tokenizer::Load(folder.Write("tokenizer.json", tree.dump()));
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  const std::vector<std::string> pieces = {" the", "ing",    "a",  "aa", "==", "  ",
                                           "\n",   "\u4f60", "er", "re", "12", "e"};
  std::mt19937 random(3);
  for (int round = 0; round < 400; ++round) {
    std::string word;
    for (size_t i = random() % (round % 2 == 0 ? 12 : 80); i > 0; --i)
      word += pieces[random() % pieces.size()];
    ASSERT_EQ(Encode(**tokenizer, word), MergeOneByOne(ranks, word)) << word;
  }
}

// Quadratic work here would take hours.
TEST(Tokenizer, EncodesOneWordOfAMegabyte) {
  const auto demo = LoadFile(kDemo);
  for (const char* unit : {" ", "a", "\n", "=", "-", "ab", "\u4f60"}) {
    std::string text;
    while (text.size() < 1000000) text += unit;
    EXPECT_EQ(demo->Decode(Encode(*demo, text), false), text);
  }
}

TEST(Tokenizer, IsThreadSafe) {
  const auto demo = LoadFile(kDemo);
  std::string text;
  for (int i = 0; i < 2000; ++i) text += "word" + std::to_string(i) + " <|eot_id|>\n";
  const std::vector<int32_t> wanted = Encode(*demo, text);
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) threads.emplace_back([&] { EXPECT_EQ(Encode(*demo, text), wanted); });
  for (std::thread& thread : threads) thread.join();
}

TEST(TokenizerLoad, SaysWhichFileIsMissing) {
  const absl::Status status = Tokenizer::Load("/no/such/tokenizer.json").status();
  EXPECT_EQ(status, absl::NotFoundError("/no/such/tokenizer.json: no such file"));
  EXPECT_EQ(Tokenizer::Load("/").status(), Invalid("/: not a regular file"));
}

TEST(TokenizerLoad, RefusesWhatIsNoJson) {
  const std::string whole = SmallJson().dump();
  for (size_t size = 0; size < whole.size(); size += 997) {
    const absl::Status status = LoadError(whole.substr(0, size));
    ASSERT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    ASSERT_NE(status.message().find("not valid JSON at byte"), status.message().npos) << status;
  }
  EXPECT_EQ(LoadError("{\"a\": \"\xFF\"}").code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(LoadError("[1e999]").code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(LoadError("{\"a\": 1, \"a\": 2}"), Invalid("names \"a\" twice in one object"));
  EXPECT_EQ(LoadError(std::string(100000, '[') + std::string(100000, ']')),
            Invalid("nests deeper than 64 levels"));
  EXPECT_EQ(LoadError("[]"), Invalid("is no object"));
}

TEST(TokenizerLoad, NamesMissingFields) {
  for (const char* path :
       {"/model", "/decoder", "/added_tokens", "/pre_tokenizer", "/model/vocab", "/model/merges",
        "/added_tokens/0/lstrip", "/added_tokens/0/id", "/pre_tokenizer/type"}) {
    const std::string field = std::string(path).substr(std::string(path).rfind('/') + 1);
    const absl::Status status = LoadError(SmallJson().patch({{{"op", "remove"}, {"path", path}}}).dump());
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << path;
    EXPECT_NE(status.message().find("the field \"" + field + "\" is missing"), status.message().npos)
        << status;
  }
}

TEST(TokenizerLoad, RefusesWrongVocabularies) {
  EXPECT_EQ(PatchError("/model/vocab/zz", 5),
            Invalid("model.vocab: the id 5 is there twice, once for \"zz\""));
  EXPECT_EQ(PatchError("/model/vocab/zz", -1),
            Invalid("model.vocab: \"zz\" has the id -1; ids are 0 to 4194303"));
  EXPECT_EQ(PatchError("/model/vocab/zz", 1 << 22).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(PatchError("/model/vocab/zz", UINT64_MAX).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(PatchError("/model/vocab/zz", "7"), Invalid("model.vocab: the id of \"zz\" is no integer"));
  EXPECT_EQ(PatchError("/model/vocab", json::array()), Invalid("model.vocab: is no object"));
}

TEST(TokenizerLoad, RefusesWrongMerges) {
  EXPECT_EQ(PatchError("/model/merges/0", "nosuch token"),
            Invalid("model.merges[0]: \"nosuch\" is not in the vocabulary"));
  EXPECT_EQ(PatchError("/model/merges/-", json{"e", "\u0100"}),
            Invalid("model.merges[" + std::to_string(SmallJson()["model"]["merges"].size()) +
                    "]: \"e\u0100\" is not in the vocabulary"));
  EXPECT_EQ(PatchError("/model/merges/0", "ab"),
            Invalid("model.merges[0]: is neither [\"a\", \"b\"] nor \"a b\""));
  EXPECT_EQ(PatchError("/model/merges/0", json{"a"}).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(PatchError("/model/merges/0", 3).code(), absl::StatusCode::kInvalidArgument);
}

TEST(TokenizerLoad, RefusesWrongAddedTokens) {
  EXPECT_EQ(PatchError("/added_tokens/0/content", ""), Invalid("added_tokens[0]: the content is empty"));
  EXPECT_EQ(PatchError("/added_tokens/0/content", "new").code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(PatchError("/added_tokens/0/id", 3).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(PatchError("/added_tokens/0/special", 1),
            Invalid("added_tokens[0].special: is neither true nor false"));
}

TEST(TokenizerLoad, NamesWhatItDoesNotKnow) {
  EXPECT_EQ(PatchError("/normalizer", {{"type", "Lowercase"}}),
            Unknown("normalizer: normalizer \"Lowercase\" is not supported"));
  EXPECT_EQ(PatchError("/model/type", "Unigram"),
            Unknown("model: type \"Unigram\" is not supported; BPE is"));
  EXPECT_EQ(PatchError("/model/dropout", 0.1), Unknown("model: dropout is not supported"));
  EXPECT_EQ(PatchError("/model/end_of_word_suffix", "</w>"),
            Unknown("model: end_of_word_suffix is not supported"));
  EXPECT_EQ(PatchError("/decoder/type", "WordPiece"),
            Unknown("decoder: decoder \"WordPiece\" is not supported"));
  EXPECT_EQ(PatchError("/decoder", {{"type", "ByteFallback"}}),
            Unknown("a pre-tokenizer and a decoder of which one alone is ByteLevel are not supported"));
  EXPECT_EQ(PatchError("/model/unk_token", "no such token"),
            Invalid("model: unk_token \"no such token\" is not in the vocabulary"));
  EXPECT_EQ(PatchError("/post_processor/type", "BertProcessing"),
            Unknown("post_processor: post-processor \"BertProcessing\" is not supported"));
  EXPECT_EQ(PatchError("/pre_tokenizer", {{"type", "BertPreTokenizer"}}),
            Unknown("pre_tokenizer: pre-tokenizer \"BertPreTokenizer\" is not supported"));
}

TEST(TokenizerLoad, NamesThePreTokenizersItDoesNotKnow) {
  const json split = {
      {"type", "Split"}, {"pattern", {{"Regex", "a"}}}, {"behavior", "Isolated"}, {"invert", false}};
  const auto error = [](const json& stage, const char* field, const json& value) {
    json changed = stage;
    changed[field] = value;
    const json stages = {changed, SmallJson()["pre_tokenizer"]};
    return PatchError("/pre_tokenizer", {{"type", "Sequence"}, {"pretokenizers", stages}});
  };
  EXPECT_TRUE(error(split, "invert", true).ok());
  const std::string place = "pre_tokenizer.pretokenizers[0]";
  EXPECT_EQ(error(split, "behavior", "Merged"), Unknown(place + ".behavior: \"Merged\" is not supported"));
  EXPECT_EQ(error(split, "pattern", {{"Glob", " "}}),
            Unknown(place + ".pattern: only a \"Regex\" and a \"String\" are supported"));
  EXPECT_EQ(error(split, "pattern", {{"Regex", "\\w"}}),
            Unknown(place + ".pattern: the regular expression's \"\\w\" at byte 0 is not supported"));
  EXPECT_EQ(error(split, "pattern", {{"Regex", "("}}).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(error(SmallJson()["pre_tokenizer"], "use_regex", false).code(), absl::StatusCode::kUnimplemented);
  EXPECT_EQ(PatchError("/pre_tokenizer", split).code(), absl::StatusCode::kUnimplemented);
}

TEST(TokenizerLoad, RefusesWrongTemplates) {
  const json text = {{"Sequence", {{"id", "A"}, {"type_id", 0}}}};
  const json bos = {{"SpecialToken", {{"id", "<s>"}, {"type_id", 0}}}};
  const auto error = [](const json& single, const json& ids) {
    return PatchError("/post_processor", {{"type", "TemplateProcessing"},
                                          {"single", single},
                                          {"special_tokens", {{"<s>", {{"id", "<s>"}, {"ids", ids}}}}}});
  };
  EXPECT_TRUE(error(json::array({bos, text}), json::array({1})).ok());
  EXPECT_EQ(error(json::array({bos}), json::array({1})),
            Invalid("post_processor.single: holds the text 0 times, not once"));
  EXPECT_EQ(error(json::array({bos, text}), json::array({100000})),
            Invalid("post_processor.special_tokens.<s>.ids: holds something that is no token's id"));
}

}  // namespace
}  // namespace ternion
