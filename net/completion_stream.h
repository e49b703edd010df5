#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "net/told_token.h"
#include "runtime/serving/request.h"
#include "runtime/text/completion_text.h"

namespace ternion {

// What a choice has to show after an event.
struct ChoiceDelta {
  int choice = 0;
  std::string text;                    // may be empty: bytes are held back, or a special token came
  std::optional<FinishReason> finish;  // set on a choice's last delta
  std::vector<ToldToken> tokens;       // where log-probabilities were asked for: those whose text is shown
};

// What is shown before the generated text.
struct Echo {
  std::string text;
  std::vector<int32_t> told;  // its ids, where their log-probabilities are told
  bool alone = false;         // nothing else is shown; the engine still generates a token
};

// Turns one choice's token events into text: detokenizes, finds stop strings, counts. The log-probabilities of a token go
// with the first character of its text: they are held back as long as it is, and not told when a stop string takes it away.
class CompletionStream {
 public:
  CompletionStream(int choice, const Tokenizer& tokenizer, std::vector<std::string> stop, Echo echo);

  // `event.status` is OK. Not called once finished.
  ChoiceDelta Push(const TokenEvent& event);

  // The last delta was given; later events are of no interest.
  bool finished() const { return finished_; }
  // Finished by a stop string, so the engine does not know it yet.
  bool stopped_by_text() const { return text_.stopped(); }
  int64_t tokens() const { return tokens_; }

 private:
  ChoiceDelta Begin(const TokenEvent& event);
  void PushToken(const TokenEvent& event, ChoiceDelta& delta);
  void ShowTold(ChoiceDelta& delta);

  int choice_;
  const Tokenizer* tokenizer_;
  CompletionText text_;
  Echo echo_;
  int64_t echo_characters_;
  std::deque<ToldToken> held_;
  int64_t tokens_ = 0;
  bool begun_ = false;
  bool finished_ = false;
};

}  // namespace ternion
