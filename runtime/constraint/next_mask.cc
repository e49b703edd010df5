#include "runtime/constraint/next_mask.h"

#include <utility>

#include "kernels/status.h"

namespace ternion {

absl::Status NextMask::Make(int32_t token) {
  if (token >= 0) TERNION_RETURN_IF_ERROR(text_.Add(token));
  TERNION_ASSIGN_OR_RETURN(mask_, text_.Next(end_ids_, vocab_));
  return absl::OkStatus();
}

MaskThread::~MaskThread() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void MaskThread::Start(uint64_t id, std::shared_ptr<NextMask> mask, int32_t token) {
  {
    const std::lock_guard lock(mutex_);
    jobs_.push_back({id, std::move(mask), token});
  }
  changed_.notify_all();
}

void MaskThread::Run() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return stopping_ || !jobs_.empty(); });
    if (stopping_) return;
    const Job job = std::move(jobs_.front());
    jobs_.pop_front();
    lock.unlock();
    done_(job.id, job.mask->Make(job.token));
    lock.lock();
  }
}

}  // namespace ternion
