#pragma once

#include <map>
#include <string>
#include <string_view>

namespace ternion {

// How the exit status of a job is learned: mpirun with --enable-recovery ends with 0 whatever became of its ranks. Where this
// variable is set each rank tells its status in a line of its own on stdout, which mpirun passes on from every host, to
// `ternion launch`.
inline constexpr char kTellStatusVariable[] = "TERNION_TELL_STATUS";
// For scripts on rank 0's host: a file in which it leaves its status, or the first rank whose status is not 0.
inline constexpr char kStatusFileVariable[] = "TERNION_EXIT_STATUS_FILE";

// Whether `ternion launch` listens, which then ends what is left of the job.
bool LaunchListens();
// On a rank whose process ends with `status`, in both ways; nothing where nobody asks.
void TellStatus(int status);
// Ends this process at once, as std::_Exit.
[[noreturn]] void TellStatusAndExit(int status);

// The statuses that ranks have told.
class ToldStatuses {
 public:
  // True when the line is a rank's status.
  bool Take(std::string_view line);
  bool RankWasLost() const;
  // The job's: kLostRank when a rank ended without a word (it was killed) or says so, else the first that is not 0. When
  // no rank has told anything mpirun itself has failed, or all ranks are lost: that of mpirun decides.
  int JobStatus(int ranks, int mpirun_status) const;

 private:
  std::map<int, int> statuses_;
};

}  // namespace ternion
