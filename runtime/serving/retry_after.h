#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>

#include "absl/status/status.h"

namespace ternion {

// How fast requests end, by the newest of them. Estimates when a place in the queue may be had.
class CompletionRate {
 public:
  using Clock = std::chrono::steady_clock;
  // What an estimate is when too few requests have ended, and the most it may be.
  static constexpr std::chrono::seconds kUnknown{5};
  static constexpr std::chrono::seconds kMost{600};

  void Add(int64_t ended, Clock::time_point now);
  // Whole seconds, at least 1, in which as many requests end as wait now. Grows while none ends.
  std::chrono::seconds TimeFor(int64_t waiting, Clock::time_point now) const;

 private:
  static constexpr size_t kRemembered = 128;

  std::deque<Clock::time_point> ends_;  // the oldest first
};

// An error that says when to try again; over HTTP it is Retry-After.
absl::Status WithRetryAfter(absl::Status status, std::chrono::seconds after);
std::optional<std::chrono::seconds> RetryAfterOf(const absl::Status& status);

}  // namespace ternion
