#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "runtime/trace/trace.h"

namespace ternion {

// Turns a rank's times into those of the trace's file: microseconds on rank 0's clock since the trace began. Two clocks
// drift apart evenly between two looks at them; with one look their distance stays.
struct TraceClock {
  struct Look {
    std::chrono::nanoseconds at{0};     // on this rank's clock
    std::chrono::nanoseconds ahead{0};  // this rank's clock, of rank 0's
  };
  std::chrono::nanoseconds begin{0};  // of the trace, on rank 0's clock
  Look first;
  Look last;

  double Microseconds(Trace::Clock::time_point time) const;
};

// A rank's spans as events of Chrome's trace format, one a line, each but the last with a comma behind it: complete events
// ("X"), requests as nested async ones ("b", "e"), and the names of process `rank` and its threads ("M"). What lies in '[' and
// ']' is a file that chrome://tracing and Perfetto open.
std::string TraceEvents(const Trace& trace, int rank, std::string_view name, const TraceClock& clock);

}  // namespace ternion
