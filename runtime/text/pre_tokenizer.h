#pragma once

#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/text/json_node.h"
#include "runtime/text/regex.h"

namespace ternion {

// One cut of a pre-tokenizer: every match of `regex` is a word, and what stands between matches is one too.
struct PreTokenizerStage {
  std::shared_ptr<const Regex> regex;  // null: no cut
  bool drop_matches = false;
  bool drop_gaps = false;
  bool add_prefix_space = false;  // before the cut, unless there is one
  bool to_byte_level = false;     // afterwards: what follows sees the byte-level spelling (byte_level.h)
};

// Cuts text into words, inside which BPE merges: the `pre_tokenizer` of a tokenizer.json. Known are Sequence,
// Split (Isolated, Removed), Digits, Punctuation (Isolated, Contiguous) and ByteLevel, of which there must be
// one.
class PreTokenizer {
 public:
  // kInvalidArgument, kUnimplemented.
  static absl::StatusOr<PreTokenizer> FromJson(const JsonNode& node);

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
  // cutter. kResourceExhausted as RegexMatcher::Find.
  absl::StatusOr<std::vector<std::string_view>> Cut(std::string_view text);

 private:
  absl::Status CutOne(const PreTokenizerStage& stage, const RegexMatcher* matcher, std::string_view text,
                      std::vector<std::string_view>& words) const;
  std::string_view Own(std::string text);

  const PreTokenizer& pre_tokenizer_;
  std::vector<std::unique_ptr<RegexMatcher>> matchers_;  // one for each stage; null where it has no regex
  std::deque<std::string> owned_;                        // words that do not stand in the text as they are
};

}  // namespace ternion
