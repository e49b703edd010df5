#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "runtime/serving/request.h"
#include "runtime/text/completion_text.h"

namespace ternion {

// What a choice has to show after an event.
struct ChoiceDelta {
  int choice = 0;
  std::string text;                    // may be empty: bytes are held back, or a special token came
  std::optional<FinishReason> finish;  // set on a choice's last delta
};

// Turns one choice's token events into text: detokenizes, finds stop strings, counts.
class CompletionStream {
 public:
  // `prefix` is shown before the first token's text.
  CompletionStream(int choice, const Tokenizer& tokenizer, std::vector<std::string> stop, std::string prefix)
      : choice_(choice), text_(tokenizer, std::move(stop)), prefix_(std::move(prefix)) {}

  // `event.status` is OK. Not called once finished.
  ChoiceDelta Push(const TokenEvent& event);

  // The last delta was given; later events are of no interest.
  bool finished() const { return finished_; }
  // Finished by a stop string, so the engine does not know it yet.
  bool stopped_by_text() const { return text_.stopped(); }
  int64_t tokens() const { return tokens_; }

 private:
  int choice_;
  CompletionText text_;
  std::string prefix_;
  int64_t tokens_ = 0;
  bool finished_ = false;
};

}  // namespace ternion
