#pragma once

#include <chrono>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "parallel/communicator.h"

namespace ternion {

// How a rank's clock stands to rank 0's.
struct ClockOffset {
  std::chrono::nanoseconds ahead{0};        // this rank's minus rank 0's; 0 where the two may be one clock
  std::chrono::nanoseconds uncertainty{0};  // at most so much more or less: half of the shortest round trip
};

// Called by all ranks of `world` together, whose memory is the host's: one after the other asks rank 0 for the time, some
// times, and takes the answer that came back soonest. `now` is this rank's clock. Errors are the communicator's.
absl::StatusOr<ClockOffset> MeasureClockOffset(Communicator& world,
                                               absl::FunctionRef<std::chrono::nanoseconds()> now);

}  // namespace ternion
