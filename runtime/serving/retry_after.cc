#include "runtime/serving/retry_after.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <string>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"

namespace ternion {
namespace {

constexpr char kRetryAfterPayload[] = "ternion/retry-after-seconds";

}  // namespace

void CompletionRate::Add(int64_t ended, Clock::time_point now) {
  for (int64_t i = 0; i < ended; ++i) ends_.push_back(now);
  while (ends_.size() > kRemembered) ends_.pop_front();
}

std::chrono::seconds CompletionRate::TimeFor(int64_t waiting, Clock::time_point now) const {
  if (ends_.size() < 2) return kUnknown;
  const std::chrono::duration<double> span = now - ends_.front();
  const double each = span.count() / static_cast<double>(ends_.size() - 1);
  const double seconds = std::ceil(static_cast<double>(waiting) * each);
  return std::chrono::seconds(
      static_cast<int64_t>(std::clamp(seconds, 1.0, static_cast<double>(kMost.count()))));
}

absl::Status WithRetryAfter(absl::Status status, std::chrono::seconds after) {
  status.SetPayload(kRetryAfterPayload, absl::Cord(absl::StrCat(after.count())));
  return status;
}

std::optional<std::chrono::seconds> RetryAfterOf(const absl::Status& status) {
  const auto payload = status.GetPayload(kRetryAfterPayload);
  if (!payload.has_value()) return std::nullopt;
  return std::chrono::seconds(std::strtoll(std::string(*payload).c_str(), nullptr, 10));
}

}  // namespace ternion
