#include "runtime/serving/step_meter.h"

#include "runtime/serving/serving_metrics.h"

namespace ternion {
namespace {

constexpr std::array<const char*, kStepPhases> kNames = {"plan", "send", "run", "commit", "tell"};

size_t Index(StepPhase phase) { return static_cast<size_t>(phase); }

}  // namespace

std::string_view StepPhaseName(StepPhase phase) { return kNames[Index(phase)]; }

std::chrono::nanoseconds StepTimes::Coordinator() const {
  std::chrono::nanoseconds sum{0};
  for (const std::chrono::nanoseconds phase : phases) sum += phase;
  return sum - phases[Index(StepPhase::kRun)];
}

StepTimes StepTimes::operator-(const StepTimes& before) const {
  StepTimes since{steps - before.steps, phases};
  for (size_t i = 0; i < phases.size(); ++i) since.phases[i] -= before.phases[i];
  return since;
}

void StepMeter::Add(StepPhase phase, uint64_t step, Clock::time_point begin, Clock::time_point end) {
  const std::chrono::nanoseconds time = end - begin;
  phases_ns_[Index(phase)].fetch_add(time.count(), std::memory_order_relaxed);
  if (metrics_ != nullptr) metrics_->ObservePhase(phase, time);
  if (phase == StepPhase::kRun) return;
  since_step_ += time;
  if (trace_ != nullptr) trace_->Add({kNames[Index(phase)], Trace::Track::kCoordinator, begin, end, step});
}

void StepMeter::CountStep(int64_t tokens) {
  steps_.fetch_add(1, std::memory_order_relaxed);
  if (metrics_ != nullptr) metrics_->ObserveStep(tokens, since_step_);
  since_step_ = {};
}

StepTimes StepMeter::Read() const {
  StepTimes times;
  times.steps = steps_.load(std::memory_order_relaxed);
  for (size_t i = 0; i < times.phases.size(); ++i) {
    times.phases[i] = std::chrono::nanoseconds(phases_ns_[i].load(std::memory_order_relaxed));
  }
  return times;
}

}  // namespace ternion
