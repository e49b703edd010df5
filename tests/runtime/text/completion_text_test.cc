#include "runtime/text/completion_text.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

namespace ternion {
namespace {

constexpr int32_t kSpecial = 0;

// Ids that stand for any bytes; id 0 is special.
class TableTokenizer : public Tokenizer {
 public:
  int32_t Add(std::string bytes) {
    bytes_.push_back(std::move(bytes));
    return static_cast<int32_t>(bytes_.size()) - 1;
  }
  absl::StatusOr<std::vector<int32_t>> Encode(std::string_view, bool) const override {
    return std::vector<int32_t>();
  }
  absl::StatusOr<std::vector<int32_t>> EncodePlain(std::string_view) const override {
    return std::vector<int32_t>();
  }
  absl::StatusOr<std::vector<int32_t>> EncodeMixed(std::string_view,
                                                   absl::Span<const TextRange>) const override {
    return std::vector<int32_t>();
  }
  std::string Decode(absl::Span<const int32_t> ids, bool) const override {
    std::string all;
    for (const int32_t id : ids) all += TokenBytes(id);
    return all;
  }
  std::string_view TokenBytes(int32_t id) const override { return bytes_.at(id); }
  bool IsSpecial(int32_t id) const override { return id == kSpecial; }
  std::optional<int32_t> TokenId(std::string_view) const override { return std::nullopt; }
  int64_t vocab_size() const override { return static_cast<int64_t>(bytes_.size()); }

 private:
  std::vector<std::string> bytes_ = {"<|special|>"};
};

struct Shown {
  std::string text;
  bool stopped;
  bool operator==(const Shown&) const = default;
};
void PrintTo(const Shown& shown, std::ostream* out) {
  *out << testing::PrintToString(shown.text) << (shown.stopped ? " stopped" : "");
}

// The text cut where the stop string begins that ends first; of those that end together, the longest.
Shown CutAtStop(const std::string& text, const std::vector<std::string>& stops) {
  for (size_t end = 1; end <= text.size(); ++end) {
    size_t longest = 0;
    for (const std::string& stop : stops) {
      if (stop.size() <= end && text.compare(end - stop.size(), stop.size(), stop) == 0) {
        longest = std::max(longest, stop.size());
      }
    }
    if (longest > 0) return {text.substr(0, end - longest), true};
  }
  return {text, false};
}

// Shows `bytes` cut into random tokens; everything that is shown must be a prefix of `wanted`.
Shown Stream(const std::string& bytes, const std::vector<std::string>& stops, const std::string& wanted,
             std::mt19937& random) {
  TableTokenizer tokenizer;
  CompletionText text(tokenizer, stops);
  std::string shown;
  for (size_t at = 0; at < bytes.size();) {
    const size_t size = std::min<size_t>(1 + random() % 5, bytes.size() - at);
    if (random() % 4 == 0) {
      EXPECT_EQ(text.Push(kSpecial), "");
    }
    tokenizer.Add("");
    shown += text.Push(tokenizer.Add(bytes.substr(at, size)));
    EXPECT_EQ(wanted.compare(0, shown.size(), shown), 0) << "shown too early";
    at += size;
  }
  const bool stopped = text.stopped();
  shown += text.Finish();
  EXPECT_EQ(text.Finish(), "");
  return {shown, stopped};
}

TEST(CompletionText, ShowsAnyCutOfATextAsTheWhole) {
  const std::vector<std::string> letters = {"a",          "b",  "ab",   "\u00e9", "\u4f60",
                                            "\U0001f600", "\n", "</s>", "<"};
  std::mt19937 random(1);
  const auto draw = [&](size_t count) {
    std::string text;
    for (size_t i = 0; i < count; ++i) text += letters[random() % letters.size()];
    return text;
  };
  size_t stopped = 0;
  for (int round = 0; round < 10000; ++round) {
    const std::string text = draw(random() % 20);
    std::vector<std::string> stops(random() % 4);
    for (std::string& stop : stops) stop = draw(1 + random() % 4);
    const Shown wanted = CutAtStop(text, stops);
    ASSERT_EQ(Stream(text, stops, wanted.text, random), wanted) << testing::PrintToString(stops);
    stopped += wanted.stopped;
  }
  EXPECT_GT(stopped, 2000u);
  EXPECT_LT(stopped, 8000u);
}

// All stop strings of up to seven letters a and b, in texts that begin like them, break off and go on inside them.
TEST(CompletionText, FindsStopStringsThatOverlapThemselves) {
  std::mt19937 random(2);
  for (uint32_t code = 2; code < 256; ++code) {
    std::string stop;
    for (uint32_t rest = code; rest > 1; rest /= 2) stop += rest % 2 == 0 ? 'a' : 'b';
    for (size_t i = 0; i < stop.size(); ++i) {
      for (size_t j = 0; j < stop.size(); ++j) {
        const std::string text = stop.substr(0, i) + stop.substr(j);
        const Shown wanted = CutAtStop(text, {stop});
        ASSERT_EQ(Stream(text, {stop}, wanted.text, random), wanted) << stop << " in " << text;
      }
    }
  }
}

TEST(CompletionText, ReplacesBrokenBytesAsPythonDoes) {
  const auto golden =
      nlohmann::json::parse(std::ifstream(TERNION_SOURCE_DIR "/tests/data/tokenizer/golden.json"));
  std::mt19937 random(2);
  for (const auto& row : golden["broken_utf8"]) {
    const std::string hex = row["bytes"];
    std::string bytes;
    for (size_t i = 0; i < hex.size(); i += 2)
      bytes += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
    const Shown wanted{row["shown"], false};
    for (int round = 0; round < 20; ++round) ASSERT_EQ(Stream(bytes, {}, wanted.text, random), wanted) << hex;
  }
}

TEST(CompletionText, HoldsBackOnlyWhatMayStillChange) {
  TableTokenizer tokenizer;
  CompletionText text(tokenizer, {"stop", "top hat"});
  EXPECT_EQ(text.Push(tokenizer.Add("one st")), "one ");
  EXPECT_EQ(text.Push(tokenizer.Add("age \xE4\xBD")), "stage ");
  EXPECT_EQ(text.Push(tokenizer.Add("\xA0 sto")), "\u4f60 ");
  EXPECT_EQ(text.Push(tokenizer.Add("p hat")), "");
  EXPECT_TRUE(text.stopped());
  EXPECT_EQ(text.Push(tokenizer.Add("more")), "");
  EXPECT_EQ(text.Finish(), "");
}

TEST(CompletionText, CountsCharactersWholeAndShown) {
  TableTokenizer tokenizer;
  CompletionText text(tokenizer, {"stop"});
  const auto push = [&](std::string bytes) {
    text.Push(tokenizer.Add(std::move(bytes)));
    return std::pair(text.characters(), text.shown());
  };
  using Counts = std::pair<int64_t, int64_t>;
  EXPECT_EQ(push("\u00e9a"), Counts(2, 2));
  EXPECT_EQ(push("st"), Counts(4, 2));
  EXPECT_EQ(push("\xE4\xBD"), Counts(4, 2)) << "not yet a character";
  EXPECT_EQ(push("\xA0"), Counts(5, 5));
  EXPECT_EQ(push("\xFF"), Counts(6, 6)) << "a replacement character";
  EXPECT_EQ(push("stop"), Counts(10, 6)) << "never shown";
}

TEST(CompletionText, AnEmptyStopStringNeverStops) {
  TableTokenizer tokenizer;
  CompletionText text(tokenizer, {""});
  EXPECT_EQ(text.Push(tokenizer.Add("a")), "a");
  EXPECT_FALSE(text.stopped());
}

TEST(CompletionText, AReplacementCharacterMayEndAStopString) {
  TableTokenizer tokenizer;
  CompletionText text(tokenizer, {"a\uFFFD"});
  EXPECT_EQ(text.Push(tokenizer.Add("xa\xC3")), "x");
  EXPECT_EQ(text.Finish(), "");
  EXPECT_TRUE(text.stopped());
}

}  // namespace
}  // namespace ternion
