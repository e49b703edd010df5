#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/text/tokenizer.h"

namespace ternion {

// Looks for one stop string in a stream of bytes (Knuth, Morris and Pratt).
class StopMatcher {
 public:
  explicit StopMatcher(std::string stop);  // not empty
  // True when the stop string ends with this byte; nothing may be fed after that.
  bool Feed(char byte);
  // How many of the last bytes the stop string begins with.
  size_t matched() const { return matched_; }

 private:
  std::string stop_;
  std::vector<size_t> shorter_;  // [stop + 1]: of its first i bytes, the longest border
  size_t matched_ = 0;
};

// Turns a stream of token ids into text that may be shown: bytes of a split UTF-8 character are held back
// until it is whole (a byte that can never become one gives U+FFFD), and text that may be the beginning of a
// stop string is held back until it is known not to be one. Stop strings are found across tokens and never
// shown: the text ends where the stop string begins that is whole first (of several that end together, the
// longest). An empty one never stops.
class CompletionText {
 public:
  CompletionText(const Tokenizer& tokenizer, std::vector<std::string> stop_strings);

  // Text that can be shown after this id; special tokens give none. After a stop string was found: nothing.
  std::string Push(int32_t id);
  // The rest, at the end of the generation.
  std::string Finish();
  // True once a stop string was found: cancel the request.
  bool stopped() const { return stopped_; }
  // Whole characters so far, and those of them that may be shown. What the next token begins with is, or becomes part of,
  // character number characters().
  int64_t characters() const { return characters_; }
  int64_t shown() const { return shown_; }

 private:
  void TakeCharacters(bool at_end);
  void Hold(std::string_view character);
  std::string Show(bool at_end);

  const Tokenizer* tokenizer_;
  std::vector<StopMatcher> stops_;
  std::string pending_bytes_;  // not yet whole UTF-8
  std::string held_text_;      // not yet shown; may begin a stop string
  int64_t characters_ = 0;
  int64_t shown_ = 0;
  bool stopped_ = false;
};

}  // namespace ternion
