#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/text/json_node.h"
#include "runtime/text/metaspace.h"
#include "runtime/text/regex.h"
#include "runtime/text/word_split.h"

namespace ternion {

// One cut of a pre-tokenizer: by the matches of `regex` and what stands between them, or by spaces.
struct PreTokenizerStage {
  std::shared_ptr<const Regex> regex;  // null: no cut
  SplitBehavior behavior = SplitBehavior::kIsolated;
  bool invert = false;                 // what stands between matches counts as the match
  bool add_prefix_space = false;       // before the cut, unless there is one
  bool to_byte_level = false;          // afterwards: what follows sees the byte-level spelling (byte_level.h)
  std::optional<Metaspace> metaspace;  // in place of all that
};

// Cuts text into words, inside which BPE merges: the `pre_tokenizer` of a tokenizer.json. Known are Sequence, Split, Digits,
// Punctuation, Whitespace, WhitespaceSplit, Metaspace and ByteLevel.
class PreTokenizer {
 public:
  // kInvalidArgument, kUnimplemented. Null leaves a text one word.
  static absl::StatusOr<PreTokenizer> FromJson(const JsonNode& node);

  // Has it a ByteLevel? Its words are bytes then, and else characters.
  bool byte_level() const;

 private:
  friend class WordCutter;
  std::vector<PreTokenizerStage> stages_;
};

// A pre-tokenizer at work, for one thread.
class WordCutter {
 public:
  // `pre_tokenizer` outlives the cutter.
  explicit WordCutter(const PreTokenizer& pre_tokenizer);
  // The words of a text (UTF-8, not empty), in order, none empty. They point into the text or into this
  // cutter. `at_start`: the text is not the rest of another. kResourceExhausted as RegexMatcher::Find.
  absl::StatusOr<std::vector<std::string_view>> Cut(std::string_view text, bool at_start);

 private:
  absl::Status CutAll(size_t stage, bool at_start, std::vector<std::string_view>& words);
  absl::Status CutOne(size_t stage, std::string_view text, std::vector<std::string_view>& words) const;
  void Respell(std::vector<std::string_view>& words);
  std::string_view Own(std::string text);

  const PreTokenizer& pre_tokenizer_;
  std::vector<std::unique_ptr<RegexMatcher>> matchers_;  // one for each stage; null where it has no regex
  std::deque<std::string> owned_;                        // words that do not stand in the text as they are
};

}  // namespace ternion
