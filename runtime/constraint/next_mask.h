#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "runtime/constraint/constraint.h"

namespace ternion {

// What the next token of one request may be. It is made behind each token, by one thread at a time.
class NextMask {
 public:
  // `end_ids` end the text, once it is whole. Ids are below `vocab`.
  NextMask(std::shared_ptr<Constraint> constraint, std::vector<int32_t> end_ids, int64_t vocab)
      : text_(std::move(constraint)), end_ids_(std::move(end_ids)), vocab_(vocab) {}

  // Takes the token that was drawn, -1: none yet. Errors are those of Constraint::Text.
  absl::Status Make(int32_t token);

  // What Make has made.
  const TokenMask& mask() const { return mask_; }

 private:
  Constraint::Text text_;
  const std::vector<int32_t> end_ids_;
  const int64_t vocab_;
  TokenMask mask_;
};

// Makes masks beside the engine's thread: some take milliseconds, in which it goes on with other requests.
class MaskThread {
 public:
  // Called on the thread when the mask of request `id` is ready, or failed.
  using Done = std::function<void(uint64_t id, const absl::Status& status)>;
  explicit MaskThread(Done done) : done_(std::move(done)), thread_([this] { Run(); }) {}
  // What has not been begun is not made.
  ~MaskThread();

  void Start(uint64_t id, std::shared_ptr<NextMask> mask, int32_t token);

 private:
  struct Job {
    uint64_t id = 0;
    std::shared_ptr<NextMask> mask;
    int32_t token = -1;
  };
  void Run();

  const Done done_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Job> jobs_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace ternion
