#include "runtime/text/pre_tokenizer.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/check.h"
#include "kernels/status.h"
#include "runtime/text/byte_level.h"

namespace ternion {
namespace {

using Stages = std::vector<PreTokenizerStage>;

// The words of GPT-2 (its encoder.py).
constexpr std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

// The pre-tokenizer Punctuation means ASCII's punctuation and, for good, that of Unicode 8. Here are the
// characters that have come to \p{P} since; two have left it.
constexpr char kLaterPunctuation[] =
    R"(\x{61D}\x{9FD}\x{A76}\x{C77}\x{C84}\x{1B4E}-\x{1B4F}\x{1B7D}-\x{1B7F}\x{2E43}-\x{2E4F})"
    R"(\x{2E52}-\x{2E5D}\x{10D6E}\x{10EAD}\x{10F55}-\x{10F59}\x{10F86}-\x{10F89}\x{113D4}-\x{113D5})"
    R"(\x{113D7}-\x{113D8}\x{1144B}-\x{1144F}\x{1145A}-\x{1145B}\x{1145D}\x{11660}-\x{1166C}\x{116B9})"
    R"(\x{1183B}\x{11944}-\x{11946}\x{119E2}\x{11A3F}-\x{11A46}\x{11A9A}-\x{11A9C}\x{11A9E}-\x{11AA2})"
    R"(\x{11B00}-\x{11B09}\x{11BE1}\x{11C41}-\x{11C45}\x{11C70}-\x{11C71}\x{11EF7}-\x{11EF8})"
    R"(\x{11F43}-\x{11F4F}\x{11FFF}\x{12FF1}-\x{12FF2}\x{16D6D}-\x{16D6F}\x{16E97}-\x{16E9A}\x{16FE2})"
    R"(\x{1E5FF}\x{1E95E}-\x{1E95F})";

absl::Status AddStages(const JsonNode& node, Stages& stages);

absl::StatusOr<std::shared_ptr<const Regex>> Compile(const JsonNode& node, std::string_view pattern) {
  absl::StatusOr<Regex> regex = Regex::Compile(pattern);
  if (regex.ok()) return std::make_shared<const Regex>(*std::move(regex));
  return node.Locate(regex.status());
}

absl::Status AddSequence(const JsonNode& node, Stages& stages) {
  TERNION_ASSIGN_OR_RETURN(const JsonNode items, node.Field("pretokenizers"));
  TERNION_RETURN_IF_ERROR(items.ExpectArray());
  for (size_t i = 0; i < items.value().size(); ++i) {
    TERNION_RETURN_IF_ERROR(AddStages(items.Item(i), stages));
  }
  return absl::OkStatus();
}

// True for `one`, false for `other`.
absl::StatusOr<bool> BehaviorIs(const JsonNode& node, std::string_view one, std::string_view other) {
  TERNION_ASSIGN_OR_RETURN(const JsonNode behavior, node.Field("behavior"));
  if (behavior.value() == one) return true;
  if (behavior.value() == other) return false;
  return behavior.Unimplemented(absl::StrCat("only ", ToAbsl(one), " and ", ToAbsl(other), " are supported"));
}

absl::Status AddSplit(const JsonNode& node, Stages& stages) {
  TERNION_ASSIGN_OR_RETURN(const bool removed, BehaviorIs(node, "Removed", "Isolated"));
  TERNION_ASSIGN_OR_RETURN(const bool invert, node.Bool("invert"));
  TERNION_ASSIGN_OR_RETURN(const JsonNode pattern, node.Field("pattern"));
  if (!pattern.Has("Regex")) return pattern.Unimplemented("only a \"Regex\" is supported");
  TERNION_ASSIGN_OR_RETURN(const std::string regex, pattern.String("Regex"));
  PreTokenizerStage stage;
  TERNION_ASSIGN_OR_RETURN(stage.regex, Compile(pattern, regex));
  stage.drop_gaps = removed && invert;
  stage.drop_matches = removed && !invert;
  stages.push_back(std::move(stage));
  return absl::OkStatus();
}

// Rust's char::is_numeric, which `tokenizers` asks here, knows Unicode 17.
absl::Status AddDigits(const JsonNode& node, Stages& stages) {
  TERNION_ASSIGN_OR_RETURN(const bool each, node.Bool("individual_digits"));
  PreTokenizerStage stage;
  const std::string_view number = R"([\p{N}\x{11DE0}-\x{11DE9}\x{16FF4}-\x{16FF6}])";
  TERNION_ASSIGN_OR_RETURN(stage.regex, Compile(node, absl::StrCat(ToAbsl(number), each ? "" : "+")));
  stages.push_back(std::move(stage));
  return absl::OkStatus();
}

absl::Status AddPunctuation(const JsonNode& node, Stages& stages) {
  TERNION_ASSIGN_OR_RETURN(const bool contiguous, BehaviorIs(node, "Contiguous", "Isolated"));
  PreTokenizerStage stage;
  const std::string mark = absl::StrCat("(?![", kLaterPunctuation, R"(])[\p{P}$+<=>^`|~\x{166D}\x{111C9}])");
  TERNION_ASSIGN_OR_RETURN(stage.regex, Compile(node, contiguous ? absl::StrCat("(?:", mark, ")+") : mark));
  stages.push_back(std::move(stage));
  return absl::OkStatus();
}

absl::Status AddByteLevel(const JsonNode& node, Stages& stages) {
  for (const PreTokenizerStage& stage : stages) {
    if (stage.to_byte_level) return node.Unimplemented("a second ByteLevel is not supported");
  }
  PreTokenizerStage stage;
  TERNION_ASSIGN_OR_RETURN(stage.add_prefix_space, node.Bool("add_prefix_space"));
  TERNION_ASSIGN_OR_RETURN(const bool use_regex, node.BoolOr("use_regex", true));
  if (use_regex) {
    TERNION_ASSIGN_OR_RETURN(stage.regex, Compile(node, kGpt2Pattern));
  }
  stage.to_byte_level = true;
  stages.push_back(std::move(stage));
  return absl::OkStatus();
}

absl::Status AddStages(const JsonNode& node, Stages& stages) {
  TERNION_ASSIGN_OR_RETURN(const std::string type, node.String("type"));
  if (type == "Sequence") return AddSequence(node, stages);
  if (type == "Split") return AddSplit(node, stages);
  if (type == "Digits") return AddDigits(node, stages);
  if (type == "Punctuation") return AddPunctuation(node, stages);
  if (type == "ByteLevel") return AddByteLevel(node, stages);
  return node.Unimplemented(absl::StrCat("pre-tokenizer \"", type, "\" is not supported"));
}

}  // namespace

absl::StatusOr<PreTokenizer> PreTokenizer::FromJson(const JsonNode& node) {
  PreTokenizer result;
  TERNION_RETURN_IF_ERROR(AddStages(node, result.stages_));
  for (const PreTokenizerStage& stage : result.stages_) {
    if (stage.to_byte_level) return result;
  }
  return node.Unimplemented("has no ByteLevel; only byte-level BPE is supported");
}

WordCutter::WordCutter(const PreTokenizer& pre_tokenizer) : pre_tokenizer_(pre_tokenizer) {
  for (const PreTokenizerStage& stage : pre_tokenizer.stages_) {
    matchers_.push_back(stage.regex == nullptr ? nullptr : std::make_unique<RegexMatcher>(*stage.regex));
  }
}

absl::StatusOr<std::vector<std::string_view>> WordCutter::Cut(std::string_view text) {
  std::vector<std::string_view> words = {text};
  bool byte_level = false;
  for (size_t i = 0; i < matchers_.size(); ++i) {
    const PreTokenizerStage& stage = pre_tokenizer_.stages_[i];
    std::vector<std::string_view> cut;
    for (std::string_view word : words) {
      if (stage.add_prefix_space && word.front() != ' ') word = Own(std::string(" ").append(word));
      TERNION_RETURN_IF_ERROR(CutOne(stage, matchers_[i].get(), word, cut));
    }
    words = std::move(cut);
    // The spelling matters to later stages alone, so after the last stage it is left out.
    if (stage.to_byte_level && i + 1 < matchers_.size()) {
      byte_level = true;
      for (std::string_view& word : words) word = Own(ToByteLevel(word));
    }
  }
  if (!byte_level) return words;
  for (std::string_view& word : words) {
    std::optional<std::string> bytes = FromByteLevel(word);
    CHECK(bytes.has_value(), "a word lost its byte-level spelling");
    word = Own(*std::move(bytes));
  }
  return words;
}

absl::Status WordCutter::CutOne(const PreTokenizerStage& stage, const RegexMatcher* matcher,
                                std::string_view text, std::vector<std::string_view>& words) const {
  size_t at = 0;
  while (matcher != nullptr && at < text.size()) {
    TERNION_ASSIGN_OR_RETURN(const RegexMatch match, matcher->Find(text, at));
    if (!stage.drop_gaps && match.begin > at) words.push_back(text.substr(at, match.begin - at));
    if (!stage.drop_matches && match.found)
      words.push_back(text.substr(match.begin, match.end - match.begin));
    at = match.end;
  }
  if (at < text.size()) words.push_back(text);
  return absl::OkStatus();
}

std::string_view WordCutter::Own(std::string text) { return owned_.emplace_back(std::move(text)); }

}  // namespace ternion
