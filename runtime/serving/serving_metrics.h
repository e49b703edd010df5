#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "kernels/ternary.h"
#include "runtime/serving/request.h"
#include "runtime/serving/request_life.h"
#include "runtime/serving/scheduler.h"
#include "runtime/serving/step_meter.h"
#include "runtime/serving/token_gaps.h"

namespace prometheus {
class Gauge;
}

namespace ternion {

// What the engine counts and times, in Prometheus' text format. Names, labels and meanings are vLLM's where it has them
// (vllm:), so that its dashboards work; the rest is ternion:. A choice of a request with n > 1 counts as a request.
//
// Observing costs some tens of nanoseconds. Thread-safe.
class ServingMetrics {
 public:
  explicit ServingMetrics(std::string_view model_name);
  ~ServingMetrics();
  ServingMetrics(const ServingMetrics&) = delete;
  ServingMetrics& operator=(const ServingMetrics&) = delete;

  void ObservePhase(StepPhase phase, std::chrono::nanoseconds time);
  // A step of so many tokens, for which the coordinator took `coordinator`.
  void ObserveStep(int64_t tokens, std::chrono::nanoseconds coordinator);
  void ObserveFirstToken(const RequestTimes& times);
  // Of tokens after a request's first.
  void ObserveTokens(const TokenGaps& gaps);
  void ObserveEnd(const RequestTimes& times, FinishReason reason);

  // What is asked for at each scrape, by `before_scrape`, and set by it. Empty: nothing more is asked.
  void BeforeScrape(std::function<void(ServingMetrics&)> before_scrape);
  void SetScheduler(const SchedulerStats& stats);
  void SetRank(int rank, bool up, double seconds_since_heard);
  // Bytes that all ranks have sent so far. kind: reduce, gather or pipeline; link: host or network.
  void SetWireBytes(std::string_view kind, std::string_view link, int64_t bytes);
  // Of all ranks; weights > 0.
  void SetWeightSkips(const WeightSkips& weights);
  // Once: what the job is made of, ternion:info's labels.
  void SetInfo(const std::map<std::string, std::string>& labels);

  // Since the start.
  int64_t prompt_tokens() const;
  int64_t generated_tokens() const;

  // One scrape.
  std::string Text();

 private:
  struct Families;
  const std::unique_ptr<Families> families_;
};

}  // namespace ternion
