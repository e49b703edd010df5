#pragma once

#include <string_view>
#include <vector>

namespace ternion {

// What becomes of the matches of a pattern that cuts a text: `behavior` of a tokenizer.json's pre-tokenizers.
enum class SplitBehavior {
  kIsolated,            // each is a word
  kRemoved,             // each is left out
  kMergedWithPrevious,  // each goes to the text before it; of several in a row the first alone
  kMergedWithNext,      // each goes to the text after it; of several in a row the last alone
  kContiguous,          // those in a row are one word
};

// Makes words of the pieces of one text, which are taken one after the other and leave nothing out.
class WordSplit {
 public:
  WordSplit(SplitBehavior behavior, std::vector<std::string_view>& words)
      : behavior_(behavior), words_(words), first_(words.size()) {}

  void Take(std::string_view piece, bool is_match);  // not empty

 private:
  bool JoinsLast(bool is_match) const;

  SplitBehavior behavior_;
  std::vector<std::string_view>& words_;
  size_t first_;  // word of this text
  bool last_was_match_ = false;
};

}  // namespace ternion
