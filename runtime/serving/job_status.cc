#include "runtime/serving/job_status.h"

#include <utility>

namespace ternion {

void JobStatusBoard::Answer(Ask ask) {
  const std::lock_guard lock(mutex_);
  ask_ = std::move(ask);
}

std::optional<JobStatus> JobStatusBoard::Read() const {
  const std::lock_guard lock(mutex_);
  if (!ask_) return std::nullopt;
  return ask_();
}

}  // namespace ternion
