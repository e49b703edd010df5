#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "parallel/process_grid.h"
#include "runtime/serving/scheduler.h"

namespace ternion {

// What a rank is made of; it tells when all ranks are ready.
struct RankFacts {
  std::string host;
  std::string device;  // the product's name
  int threads = 0;     // on a CPU; 0 on a GPU
  int first_layer = 0;
  int layers = 0;
  int64_t weight_bytes = 0;
  int64_t kv_bytes = 0;
  int64_t resident_bytes = 0;  // of the process, in the host's memory
};

struct RankStatus {
  RankFacts facts;
  bool up = false;                 // connected
  double seconds_since_heard = 0;  // while it is up
};

// A job at one moment, for people who look at it.
struct JobStatus {
  ProcessGrid grid;
  std::string wire;
  std::string pipeline_wire;
  std::string kv_cache;
  std::string device;  // cpu or cuda
  int64_t block_tokens = 0;
  SchedulerStats scheduler;
  int64_t prompt_tokens = 0;  // since the start
  int64_t generated_tokens = 0;
  std::vector<RankStatus> ranks;  // by rank
};

// Where readers ask for the status of a job, from any thread, whether one runs or not.
class JobStatusBoard {
 public:
  using Ask = std::function<JobStatus()>;

  // From now on `ask` answers; empty: nobody does. Returns when no reader uses the former any more.
  void Answer(Ask ask);
  std::optional<JobStatus> Read() const;

 private:
  mutable std::mutex mutex_;
  Ask ask_;
};

}  // namespace ternion
