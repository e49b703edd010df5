#include "runtime/text/pre_tokenizer.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/check.h"
#include "kernels/status.h"
#include "runtime/text/byte_level.h"
#include "runtime/text/text_pattern.h"
#include "runtime/text/unicode_additions.h"

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

const SplitBehavior* FindBehavior(std::string_view name) {
  static constexpr std::pair<std::string_view, SplitBehavior> kKnown[] = {
      {"Isolated", SplitBehavior::kIsolated},
      {"Removed", SplitBehavior::kRemoved},
      {"MergedWithPrevious", SplitBehavior::kMergedWithPrevious},
      {"MergedWithNext", SplitBehavior::kMergedWithNext},
      {"Contiguous", SplitBehavior::kContiguous}};
  for (const auto& [known, behavior] : kKnown) {
    if (name == known) return &behavior;
  }
  return nullptr;
}

absl::StatusOr<SplitBehavior> ReadBehavior(const JsonNode& node) {
  TERNION_ASSIGN_OR_RETURN(const JsonNode behavior, node.Field("behavior"));
  if (!behavior.value().is_string()) return behavior.Invalid("is no string");
  const auto& name = behavior.value().get_ref<const std::string&>();
  if (const SplitBehavior* known = FindBehavior(name)) return *known;
  return behavior.Unimplemented(absl::StrCat("\"", name, "\" is not supported"));
}

absl::Status AddSplit(const JsonNode& node, Stages& stages) {
  PreTokenizerStage stage;
  TERNION_ASSIGN_OR_RETURN(stage.behavior, ReadBehavior(node));
  TERNION_ASSIGN_OR_RETURN(stage.invert, node.Bool("invert"));
  TERNION_ASSIGN_OR_RETURN(const JsonNode pattern, node.Field("pattern"));
  TERNION_ASSIGN_OR_RETURN(Regex regex, CompilePattern(pattern));
  stage.regex = std::make_shared<const Regex>(std::move(regex));
  stages.push_back(std::move(stage));
  return absl::OkStatus();
}

// Words are \w+ and [^\w\s]+.
absl::Status AddWhitespace(const JsonNode& node, Stages& stages) {
  PreTokenizerStage stage;
  const std::string word = WordCharacters();
  absl::StatusOr<Regex> regex =
      Regex::CompilePcre2(absl::StrCat("[", word, "]+|[^\\p{White_Space}", word, "]+"));
  if (!regex.ok()) return node.Locate(regex.status());
  stage.regex = std::make_shared<const Regex>(*std::move(regex));
  stage.behavior = SplitBehavior::kRemoved;
  stage.invert = true;
  stages.push_back(std::move(stage));
  return absl::OkStatus();
}

absl::Status AddWhitespaceSplit(const JsonNode& node, Stages& stages) {
  PreTokenizerStage stage;
  TERNION_ASSIGN_OR_RETURN(stage.regex, Compile(node, "\\s"));
  stage.behavior = SplitBehavior::kRemoved;
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
  PreTokenizerStage stage;
  if (node.Has("behavior")) {
    TERNION_ASSIGN_OR_RETURN(stage.behavior, ReadBehavior(node));
  }
  const std::string mark = absl::StrCat("(?![", kLaterPunctuation, R"(])[\p{P}$+<=>^`|~\x{166D}\x{111C9}])");
  TERNION_ASSIGN_OR_RETURN(stage.regex, Compile(node, mark));
  stages.push_back(std::move(stage));
  return absl::OkStatus();
}

absl::Status AddMetaspace(const JsonNode& node, Stages& stages) {
  for (const PreTokenizerStage& before : stages) {
    if (before.to_byte_level) return node.Unimplemented("Metaspace behind ByteLevel is not supported");
  }
  PreTokenizerStage stage;
  TERNION_ASSIGN_OR_RETURN(stage.metaspace, Metaspace::FromJson(node));
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
  if (type == "Metaspace") return AddMetaspace(node, stages);
  if (type == "Whitespace") return AddWhitespace(node, stages);
  if (type == "WhitespaceSplit") return AddWhitespaceSplit(node, stages);
  return node.Unimplemented(absl::StrCat("pre-tokenizer \"", type, "\" is not supported"));
}

}  // namespace

absl::StatusOr<PreTokenizer> PreTokenizer::FromJson(const JsonNode& node) {
  PreTokenizer result;
  if (!node.value().is_null()) TERNION_RETURN_IF_ERROR(AddStages(node, result.stages_));
  return result;
}

bool PreTokenizer::byte_level() const {
  return std::any_of(stages_.begin(), stages_.end(), [](const auto& stage) { return stage.to_byte_level; });
}

WordCutter::WordCutter(const PreTokenizer& pre_tokenizer) : pre_tokenizer_(pre_tokenizer) {
  for (const PreTokenizerStage& stage : pre_tokenizer.stages_) {
    matchers_.push_back(stage.regex == nullptr ? nullptr : std::make_unique<RegexMatcher>(*stage.regex));
  }
}

absl::StatusOr<std::vector<std::string_view>> WordCutter::Cut(std::string_view text, bool at_start) {
  std::vector<std::string_view> words = {text};
  bool respelled = false;
  for (size_t i = 0; i < matchers_.size(); ++i) {
    // Does the first word still begin where the text does?
    const bool starts = at_start && !words.empty() && words.front().data() == text.data();
    TERNION_RETURN_IF_ERROR(CutAll(i, starts, words));
    // The spelling matters to later stages alone, so after the last stage it is left out.
    if (!pre_tokenizer_.stages_[i].to_byte_level || i + 1 == matchers_.size()) continue;
    respelled = true;
    for (std::string_view& word : words) word = Own(ToByteLevel(word));
  }
  if (respelled) Respell(words);
  return words;
}

absl::Status WordCutter::CutAll(size_t stage, bool at_start, std::vector<std::string_view>& words) {
  const PreTokenizerStage& how = pre_tokenizer_.stages_[stage];
  std::vector<std::string_view> cut;
  for (std::string_view word : words) {
    if (how.metaspace.has_value()) {
      how.metaspace->Cut(Own(how.metaspace->Spell(word, at_start)), cut);
    } else {
      if (how.add_prefix_space && word.front() != ' ') word = Own(std::string(" ").append(word));
      TERNION_RETURN_IF_ERROR(CutOne(stage, word, cut));
    }
    at_start = false;
  }
  words = std::move(cut);
  return absl::OkStatus();
}

absl::Status WordCutter::CutOne(size_t stage, std::string_view text,
                                std::vector<std::string_view>& words) const {
  const PreTokenizerStage& how = pre_tokenizer_.stages_[stage];
  if (how.regex == nullptr) {
    words.push_back(text);
    return absl::OkStatus();
  }
  WordSplit split(how.behavior, words);
  for (size_t at = 0; at < text.size();) {
    TERNION_ASSIGN_OR_RETURN(const RegexMatch match, matchers_[stage]->Find(text, at));
    if (match.begin > at) split.Take(text.substr(at, match.begin - at), how.invert);
    if (match.found) split.Take(text.substr(match.begin, match.end - match.begin), !how.invert);
    at = match.end;
  }
  return absl::OkStatus();
}

// From the byte-level spelling back to the bytes.
void WordCutter::Respell(std::vector<std::string_view>& words) {
  for (std::string_view& word : words) {
    std::optional<std::string> bytes = FromByteLevel(word);
    CHECK(bytes.has_value(), "a word lost its byte-level spelling");
    word = Own(*std::move(bytes));
  }
}

std::string_view WordCutter::Own(std::string text) { return owned_.emplace_back(std::move(text)); }

}  // namespace ternion
