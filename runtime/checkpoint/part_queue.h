#pragma once

#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <optional>
#include <queue>

#include "absl/status/status.h"
#include "runtime/model/weights.h"

namespace ternion {

// Hands parts of a stage from the thread that makes them to one that writes them.
class PartQueue {
 public:
  // `most` parts wait at most.
  explicit PartQueue(size_t most) : most_(most) {}

  // Waits for room; the taker's error once it has given up.
  absl::Status Push(StageWeights part);
  // No more will come.
  void Close();
  // Waits for a part; nothing at the end.
  std::optional<StageWeights> Pop();
  // Nothing more is taken.
  void GiveUp(const absl::Status& why);

 private:
  const size_t most_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::queue<StageWeights> waiting_;
  bool closed_ = false;
  absl::Status given_up_;
};

}  // namespace ternion
