#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <string_view>

#include "runtime/trace/trace.h"

namespace ternion {

class ServingMetrics;

// What rank 0's loop does for a step. All but kRun is the coordinator's own time.
enum class StepPhase : uint8_t { kPlan, kSend, kRun, kCommit, kTell };
inline constexpr int kStepPhases = 5;
std::string_view StepPhaseName(StepPhase phase);  // "plan", "send", ...

// Sums over all steps so far.
struct StepTimes {
  int64_t steps = 0;
  std::array<std::chrono::nanoseconds, kStepPhases> phases{};

  // Of the coordinator, all steps together: planning, encoding and sending plans, committing and telling answers.
  std::chrono::nanoseconds Coordinator() const;
  StepTimes operator-(const StepTimes& before) const;
};

// Measures the phases, always, on the engine's thread; Read may be called on any.
class StepMeter {
 public:
  using Clock = std::chrono::steady_clock;

  // Recorded beside the sums from now on; both outlive the last phase. kRun is left to the engine's own spans.
  void UseTrace(Trace* trace) { trace_ = trace; }
  void UseMetrics(ServingMetrics* metrics) { metrics_ = metrics; }

  // A phase from its construction to End, or without an effect where End is not called.
  class Phase {
   public:
    Phase(StepMeter& meter, StepPhase phase) : meter_(meter), phase_(phase), begin_(Clock::now()) {}
    // `step`: which one, for the trace; 0: not known.
    void End(uint64_t step = 0) { meter_.Add(phase_, step, begin_, Clock::now()); }

   private:
    StepMeter& meter_;
    const StepPhase phase_;
    const Clock::time_point begin_;
  };

  // A plan of so many tokens was sent: what was measured since the plan before is the time of one step.
  void CountStep(int64_t tokens);
  StepTimes Read() const;

 private:
  void Add(StepPhase phase, uint64_t step, Clock::time_point begin, Clock::time_point end);

  Trace* trace_ = nullptr;
  ServingMetrics* metrics_ = nullptr;
  std::atomic<int64_t> steps_{0};
  std::array<std::atomic<int64_t>, kStepPhases> phases_ns_{};
  std::chrono::nanoseconds since_step_{0};
};

}  // namespace ternion
