#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>

#include "absl/status/status.h"

namespace ternion {

// How a job ends that cannot go on. The rank's own thread may wait inside MPI, NCCL or CUDA for ever, so threads of this
// object tell what has happened, wait a little, and end the process. The first cause counts. Thread-safe.
class JobEnd {
 public:
  struct Cause {
    absl::Status why;
    int exit_code = 0;
    std::chrono::milliseconds linger{0};  // from the telling to the end
    int may_live = -1;                    // the lost rank, where its process may be there still
    bool told = false;                    // another rank prints it
  };
  struct Actions {
    std::function<void(const Cause& cause)> tell;  // once; the end waits a second for it, no longer
    std::function<void(const Cause& cause)> end;   // does not return, but in tests
  };
  // A failure waits so long for a loss, which may be what caused it and says more.
  static constexpr std::chrono::milliseconds kPatience{500};

  explicit JobEnd(Actions actions);
  // Where there was a cause, this does not return before the process has ended.
  ~JobEnd();
  JobEnd(const JobEnd&) = delete;
  JobEnd& operator=(const JobEnd&) = delete;

  void Lose(Cause cause);  // a rank was lost
  void Fail(Cause cause);  // something failed that may be the consequence of a loss
  // For a thread that has nothing left to do: the process ends below it.
  [[noreturn]] static void Await();

 private:
  using Clock = std::chrono::steady_clock;

  void RunTeller();
  void RunTimer();
  bool begun() const { return begun_at_.has_value(); }

  const Actions actions_;
  std::mutex mutex_;
  std::condition_variable changed_;
  Cause cause_;
  bool suspected_ = false;  // there is a cause, but a better one may come
  std::optional<Clock::time_point> begun_at_;
  bool told_ = false;
  bool cancelled_ = false;
  std::thread teller_;
  std::thread timer_;
};

}  // namespace ternion
