#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "net/completion_stream.h"
#include "net/event_queue.h"
#include "net/prepared_prompt.h"
#include "net/token_mail.h"

namespace ternion {

struct Usage {
  int64_t prompt_tokens = 0;
  int64_t completion_tokens = 0;
  int64_t cached_tokens = 0;  // of the prompts', found in the prefix cache
};

// The running choices of one HTTP request. Its end, for whatever reason, cancels the choices that still run.
class Generation {
 public:
  // Submits every prompt, or none. `reader` is woken by the mail when Take has something to give, and dropped when it
  // takes too little; neither after the Generation's end. Errors are Generator::Submit's.
  static absl::StatusOr<std::unique_ptr<Generation>> Start(const ModelService& model,
                                                           const std::vector<std::string>& stop,
                                                           std::vector<PreparedPrompt> prompts,
                                                           TokenMail& mail, EventReader reader);
  ~Generation();
  Generation(const Generation&) = delete;
  Generation& operator=(const Generation&) = delete;

  // What has come since the last call: at most a few hundred deltas, so that a backlog is turned into text in
  // portions; empty when there is nothing yet. An error when a choice failed in the engine.
  absl::StatusOr<std::vector<ChoiceDelta>> Take();
  // Every choice has given its last delta.
  bool finished() const { return unfinished_ == 0; }
  int choices() const { return static_cast<int>(choices_.size()); }
  Usage usage() const;

 private:
  struct Choice {
    uint64_t id;
    CompletionStream stream;
    bool counts_prompt;
  };
  Generation(Generator& generator, std::shared_ptr<EventQueue> queue)
      : generator_(&generator), queue_(std::move(queue)) {}

  Generator* generator_;
  std::shared_ptr<EventQueue> queue_;  // the mail holds it too
  std::vector<Choice> choices_;
  int unfinished_ = 0;
  int64_t prompt_tokens_ = 0;
  int64_t cached_tokens_ = 0;
};

}  // namespace ternion
