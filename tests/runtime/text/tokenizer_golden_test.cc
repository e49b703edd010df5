// The ids of Hugging Face's `tokenizers` and of `sentencepiece` (tests/data/tokenizer/golden.json, written by
// tests/tools/compare_tokenizer.py) on hard text, short ones id by id and long ones by digest.

#include <gtest/gtest.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "runtime/text/sentencepiece_tokenizer.h"
#include "runtime/text/tokenizer.h"
#include "tests/support/temp_folder.h"

namespace ternion {
namespace {

using nlohmann::json;

json ReadJson(const std::filesystem::path& file) { return json::parse(std::ifstream(file)); }

const json& Golden() {
  static const json* const golden = [] {
    const char* file = std::getenv("TERNION_TOKENIZER_GOLDEN");
    return new json(
        ReadJson(file != nullptr ? file : TERNION_SOURCE_DIR "/tests/data/tokenizer/golden.json"));
  }();
  return *golden;
}

// The generator of compare_tokenizer.py.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed * 0x9E3779B97F4A7C15u + 1) {}
  uint64_t Next() {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    return state_ ^= state_ << 17;
  }

 private:
  uint64_t state_;
};

std::string Utf8(uint32_t c) {
  const auto tail = [c](int shift) { return static_cast<char>(0x80 | ((c >> shift) & 0x3F)); };
  if (c < 0x80) return {static_cast<char>(c)};
  if (c < 0x800) return {static_cast<char>(0xC0 | c >> 6), tail(0)};
  if (c < 0x10000) return {static_cast<char>(0xE0 | c >> 12), tail(6), tail(0)};
  return {static_cast<char>(0xF0 | c >> 18), tail(12), tail(6), tail(0)};
}

std::string AnyCharacter(uint64_t bits) {
  const auto point = static_cast<uint32_t>(bits % 0x10F800);
  return Utf8(point < 0xD800 ? point : point + 0x800);
}

std::string Document(uint64_t seed) {
  const json& fragments = Golden()["fragments"];
  const size_t size = Golden()["document_bytes"].get<size_t>();
  Random random(seed);
  std::string text;
  while (text.size() < size) {
    const uint64_t r = random.Next();
    std::string piece = fragments[r % fragments.size()].get<std::string>();
    if ((r >> 16) % 8 == 0) piece = AnyCharacter(r >> 24);
    const uint64_t times = (r >> 48) % 64 == 0 ? 1 + (r >> 54) % 200 : 1;
    for (uint64_t i = 0; i < times; ++i) text += piece;
  }
  return text;
}

template <typename Numbers>
std::string Digest(const Numbers& numbers) {
  uint64_t value = 0xCBF29CE484222325u;
  for (const auto number : numbers) {
    value = (value ^ static_cast<std::make_unsigned_t<decltype(+number)>>(number)) * 0x100000001B3u;
  }
  char text[17];
  std::snprintf(text, sizeof(text), "%016llx", static_cast<unsigned long long>(value));
  return text;
}

std::string ReadFile(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
}

// A row's tokenizer: a file of the tree with the row's JSON patch, or a tokenizer.model with the row's tokenizer_config.json.
absl::StatusOr<std::unique_ptr<Tokenizer>> Open(const json& row) {
  const TempFolder folder;
  const std::filesystem::path base =
      std::filesystem::path(TERNION_SOURCE_DIR) / row["base"].get<std::string>();
  if (base.extension() == ".json") {
    return Tokenizer::Load(folder.Write("tokenizer.json", ReadJson(base).patch(row["patch"]).dump()));
  }
  folder.Write("tokenizer.model", ReadFile(base));
  if (row.contains("config")) folder.Write("tokenizer_config.json", row["config"].dump());
  return LoadSentencePieceTokenizer(folder.path());
}

std::unique_ptr<Tokenizer> Load(const json& row) {
  auto tokenizer = Open(row);
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  return tokenizer.ok() ? *std::move(tokenizer) : nullptr;
}

absl::StatusOr<std::vector<int32_t>> Encode(const json& row, const Tokenizer& tokenizer,
                                            const std::string& text, bool add_special) {
  return row.contains("plain") ? tokenizer.EncodePlain(text) : tokenizer.Encode(text, add_special);
}

TEST(TokenizerGolden, GivesTheIdsOfThePackages) {
  for (const json& row : Golden()["tokenizers"]) {
    SCOPED_TRACE(row["name"]);
    const std::unique_ptr<Tokenizer> tokenizer = Load(row);
    ASSERT_NE(tokenizer, nullptr);
    for (const json& example : row["cases"]) {
      const auto ids = Encode(row, *tokenizer, example["text"].get<std::string>(), /*add_special=*/true);
      ASSERT_TRUE(ids.ok()) << ids.status();
      EXPECT_EQ(*ids, example["ids"].get<std::vector<int32_t>>()) << example["text"].dump();
    }
  }
}

// With TERNION_TOKENIZER_GOLDEN also says how fast that was.
TEST(TokenizerGolden, GivesTheSameDigestsOnLongerText) {
  size_t all_bytes = 0;
  for (const json& row : Golden()["tokenizers"]) {
    SCOPED_TRACE(row["name"]);
    const std::unique_ptr<Tokenizer> tokenizer = Load(row);
    ASSERT_NE(tokenizer, nullptr);
    size_t bytes = 0;
    std::clock_t ticks = 0;
    for (const json& document : row["documents"]) {
      const std::string text = Document(document["seed"].get<uint64_t>());
      const std::vector<uint8_t> raw(text.begin(), text.end());
      ASSERT_EQ(Digest(raw), document["text"].get<std::string>()) << "the text itself differs";
      const std::clock_t start = std::clock();
      const auto ids = Encode(row, *tokenizer, text, /*add_special=*/false);
      ticks += std::clock() - start;
      ASSERT_TRUE(ids.ok()) << ids.status();
      EXPECT_EQ(Digest(*ids), document["ids"].get<std::string>()) << "seed " << document["seed"];
      bytes += text.size();
    }
    all_bytes += bytes;
    if (std::getenv("TERNION_TOKENIZER_GOLDEN") == nullptr) continue;
    std::printf("%s: %.1f MB at %.2f MB a CPU second\n", row["name"].get<std::string>().c_str(), bytes / 1e6,
                bytes / 1e6 * CLOCKS_PER_SEC / static_cast<double>(ticks));
  }
  EXPECT_GT(all_bytes, size_t{1} << 20);
}

}  // namespace
}  // namespace ternion
