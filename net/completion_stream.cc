#include "net/completion_stream.h"

#include <utility>

namespace ternion {

ChoiceDelta CompletionStream::Push(const TokenEvent& event) {
  ChoiceDelta delta{choice_, std::exchange(prefix_, {}), event.finish};
  if (event.token >= 0) {
    ++tokens_;
    delta.text += text_.Push(event.token);
  }
  if (text_.stopped()) {
    delta.finish = FinishReason::kStop;
  } else if (event.finish.has_value()) {
    delta.text += text_.Finish();
    // The last bytes may complete a stop string as well.
    if (text_.stopped()) delta.finish = FinishReason::kStop;
  }
  finished_ = delta.finish.has_value();
  return delta;
}

}  // namespace ternion
