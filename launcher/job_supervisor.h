#pragma once

#include <chrono>

#include "absl/status/statusor.h"
#include "launcher/cluster_command.h"
#include "launcher/told_status.h"

namespace ternion {

// Runs mpirun and stands between it and the signals of whoever launched it: the first SIGTERM, SIGINT or SIGUSR1 lets the
// server drain (mpirun passes SIGUSR1 on), a second one ends the job at once. One object at a time; it blocks these signals
// for this process as long as it lives.
class JobSupervisor {
 public:
  JobSupervisor();
  ~JobSupervisor();
  JobSupervisor(const JobSupervisor&) = delete;
  JobSupervisor& operator=(const JobSupervisor&) = delete;

  // Until the job has ended; its exit status. Of a job that has lost a rank, what is left after some seconds is ended.
  absl::StatusOr<int> Run(const LaunchCommand& job, int ranks);
  // False when a signal came before the time was over.
  bool Sleep(std::chrono::milliseconds time);
  // A signal has asked for the end.
  bool stopped() const { return signals_ > 0; }

 private:
  struct Running;
  void OnSignal(Running& job);
  void TakeOutput(Running& job);
  static void EndLeftovers(Running& job);

  int signal_file_;
  int signals_ = 0;  // that asked for the end
};

}  // namespace ternion
