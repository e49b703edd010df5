#pragma once

#include <chrono>
#include <string>

#include "launcher/deadline.h"

namespace ternion {

// Ends the job of a rank whose start takes longer than `limit`. Until ranks are connected (Job) nothing else tells that one is
// missing, and MPI waits for it for ever where the launcher lets ranks live on after one that was lost.
class StartWatch {
 public:
  // `late`: what has not happened then, for the error, of which there is one a host.
  StartWatch(std::chrono::seconds limit, const std::string& late);

 private:
  Deadline deadline_;
};

}  // namespace ternion
