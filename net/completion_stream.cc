#include "net/completion_stream.h"

#include <utility>

#include "runtime/text/utf8.h"

namespace ternion {

CompletionStream::CompletionStream(int choice, const Tokenizer& tokenizer, std::vector<std::string> stop,
                                   Echo echo)
    : choice_(choice),
      tokenizer_(&tokenizer),
      text_(tokenizer, std::move(stop)),
      echo_(std::move(echo)),
      echo_characters_(CountCharacters(echo_.text)) {}

ChoiceDelta CompletionStream::Push(const TokenEvent& event) {
  ChoiceDelta delta = Begin(event);
  if (echo_.alone) {
    delta.finish = event.finish == FinishReason::kCancelled ? event.finish : FinishReason::kLength;
  } else {
    PushToken(event, delta);
  }
  finished_ = delta.finish.has_value();
  return delta;
}

// The prompt's share, with the first event.
ChoiceDelta CompletionStream::Begin(const TokenEvent& event) {
  ChoiceDelta delta{choice_, {}, event.finish, {}};
  if (std::exchange(begun_, true)) return delta;
  delta.text = std::exchange(echo_.text, {});
  if (!echo_.told.empty() && event.token >= 0) {
    delta.tokens = TellPrompt(*tokenizer_, std::exchange(echo_.told, {}), event.prompt_logprobs);
  }
  return delta;
}

void CompletionStream::PushToken(const TokenEvent& event, ChoiceDelta& delta) {
  if (event.token >= 0) {
    ++tokens_;
    if (event.logprobs.has_value()) {
      held_.push_back(Tell(*tokenizer_, event.token, echo_characters_ + text_.characters(), *event.logprobs));
    }
    delta.text += text_.Push(event.token);
  }
  // The last bytes may complete a stop string as well.
  if (event.finish.has_value()) delta.text += text_.Finish();
  if (text_.stopped()) delta.finish = FinishReason::kStop;
  ShowTold(delta);
}

void CompletionStream::ShowTold(ChoiceDelta& delta) {
  const bool all = delta.finish.has_value() && !text_.stopped();
  while (!held_.empty() && (all || held_.front().offset < echo_characters_ + text_.shown())) {
    delta.tokens.push_back(std::move(held_.front()));
    held_.pop_front();
  }
}

}  // namespace ternion
