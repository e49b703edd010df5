#include "launcher/job_end.h"

#include <gtest/gtest.h>

#include <condition_variable>
#include <mutex>
#include <string>
#include <vector>

namespace ternion {
namespace {

using std::chrono::milliseconds;

// What the threads of a JobEnd have done, in order.
class Record {
 public:
  JobEnd::Actions actions() {
    return {[this](const JobEnd::Cause& cause) { Add("tell " + std::string(cause.why.message())); },
            [this](const JobEnd::Cause& cause) { Add("end " + std::to_string(cause.exit_code)); }};
  }
  std::vector<std::string> Wait(size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, std::chrono::seconds(20), [&] { return done_.size() >= count; });
    return done_;
  }

 private:
  void Add(std::string what) {
    const std::lock_guard lock(mutex_);
    done_.push_back(std::move(what));
    changed_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::string> done_;
};

JobEnd::Cause Because(const std::string& why, int exit_code, milliseconds linger = milliseconds(0)) {
  return {absl::UnavailableError(why), exit_code, linger};
}

TEST(JobEnd, ALossIsToldThenEndsTheProcess) {
  Record record;
  JobEnd end(record.actions());
  const auto before = std::chrono::steady_clock::now();
  end.Lose(Because("rank 1 was lost", 4, milliseconds(50)));
  EXPECT_EQ(record.Wait(2), (std::vector<std::string>{"tell rank 1 was lost", "end 4"}));
  EXPECT_GE(std::chrono::steady_clock::now() - before, milliseconds(50));
}

TEST(JobEnd, TheFirstLossCounts) {
  Record record;
  JobEnd end(record.actions());
  end.Lose(Because("rank 1 was lost", 4));
  end.Lose(Because("rank 2 was lost", 4));
  end.Fail(Because("MPI_Allgather failed", 1));
  EXPECT_EQ(record.Wait(2), (std::vector<std::string>{"tell rank 1 was lost", "end 4"}));
}

TEST(JobEnd, ALossExplainsTheFailureThatCameFirst) {
  Record record;
  JobEnd end(record.actions());
  end.Fail(Because("MPI_Allgather failed", 1));
  end.Lose(Because("rank 1 was lost", 4));
  EXPECT_EQ(record.Wait(2), (std::vector<std::string>{"tell rank 1 was lost", "end 4"}));
}

TEST(JobEnd, AFailureWithoutALossEndsTheProcessToo) {
  Record record;
  JobEnd end(record.actions());
  end.Fail(Because("out of memory", 1));
  EXPECT_EQ(record.Wait(2), (std::vector<std::string>{"tell out of memory", "end 1"}));
}

// A client's log that nobody reads, say.
TEST(JobEnd, TheEndDoesNotWaitForATellingThatHangs) {
  Record record;
  std::mutex hangs;
  JobEnd::Actions actions = record.actions();
  actions.tell = [&](const JobEnd::Cause&) { const std::lock_guard lock(hangs); };
  std::unique_lock held(hangs);
  JobEnd end(actions);
  end.Lose(Because("rank 1 was lost", 4));
  EXPECT_EQ(record.Wait(1), std::vector<std::string>{"end 4"});
  held.unlock();
}

TEST(JobEnd, AJobThatEndsInOrderTellsNothing) {
  Record record;
  { JobEnd end(record.actions()); }
  EXPECT_TRUE(record.Wait(0).empty());
}

}  // namespace
}  // namespace ternion
