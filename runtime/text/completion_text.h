#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/text/tokenizer.h"

namespace ternion {

// Turns a stream of token ids into text that may be shown: bytes of a split UTF-8 character are held back until it
// is whole (a byte that can never become one gives U+FFFD), and text that may be the beginning of a stop string is
// held back until it is known not to be one. Stop strings are found across tokens and never shown.
class CompletionText {
 public:
  CompletionText(const Tokenizer& tokenizer, std::vector<std::string> stop_strings);

  // Text that can be shown after this id; special tokens give none. After a stop string was found: nothing.
  std::string Push(int32_t id);
  // The rest, at the end of the generation.
  std::string Finish();
  // True once a stop string was found: cancel the request.
  bool stopped() const { return stopped_; }

 private:
  std::string Show(bool at_end);

  const Tokenizer* tokenizer_;
  std::vector<std::string> stop_strings_;
  std::string pending_bytes_;  // not yet whole UTF-8
  std::string held_text_;      // may begin a stop string
  bool stopped_ = false;
};

}  // namespace ternion
