#pragma once

#include <chrono>
#include <cstdint>
#include <memory>

#include "runtime/serving/request.h"
#include "runtime/serving/token_gaps.h"
#include "runtime/trace/trace.h"

namespace ternion {

class ServingMetrics;

// When things happened to one request; a time that has not come is max().
struct RequestTimes {
  using Time = std::chrono::steady_clock::time_point;
  static constexpr Time kNever = Time::max();

  Time arrived = kNever;
  Time started = kNever;      // its first step was planned
  Time first_token = kNever;  // as the last, when it was told
  Time last_token = kNever;
  Time ended = kNever;
  int64_t prompt_tokens = 0;
  int64_t generated_tokens = 0;
};

// Stands before a request's sink and tells metrics and trace, where there are any, what the request goes through. Its calls
// come one by one, on the engine's thread but for SetId and an end by TellFailure. The time between its tokens goes to
// `gaps`, which the metrics observe with the last event that no other follows.
class RequestLife {
 public:
  RequestLife(const GenerateRequest& request, TokenSink sink, ServingMetrics* metrics, TokenGaps* gaps,
              Trace* trace);

  // Before the first event.
  void SetId(uint64_t id) { id_ = id; }
  void Take(const TokenEvent& event);

 private:
  void Count(const TokenEvent& event);
  void TakeToken(std::chrono::steady_clock::time_point told);
  void End(const TokenEvent& event);
  void AddToTrace() const;

  const TokenSink sink_;
  ServingMetrics* const metrics_;
  TokenGaps* const gaps_;
  Trace* const trace_;
  uint64_t id_ = 0;
  RequestTimes times_;
};

}  // namespace ternion
