#include "runtime/serving/request_life.h"

#include <algorithm>
#include <utility>

#include "runtime/serving/serving_metrics.h"

namespace ternion {

RequestLife::RequestLife(const GenerateRequest& request, TokenSink sink, ServingMetrics* metrics,
                         TokenGaps* gaps, Trace* trace)
    : sink_(std::move(sink)), metrics_(metrics), gaps_(gaps), trace_(trace) {
  times_.arrived = std::chrono::steady_clock::now();
  times_.prompt_tokens = static_cast<int64_t>(request.prompt.size());
}

// The sink goes last: what a client was told is counted when it asks for the metrics.
void RequestLife::Take(const TokenEvent& event) {
  Count(event);
  if (gaps_ != nullptr && !event.more_follow) {
    metrics_->ObserveTokens(*gaps_);
    gaps_->Clear();
  }
  sink_(event);
}

void RequestLife::Count(const TokenEvent& event) {
  times_.started = std::min(times_.started, event.started);
  if (event.token >= 0) TakeToken(event.told);
  if (!event.finish && event.status.ok()) return;
  times_.ended = event.told;
  End(event);
}

void RequestLife::TakeToken(std::chrono::steady_clock::time_point told) {
  const auto before = std::exchange(times_.last_token, told);
  if (times_.generated_tokens++ > 0) {
    if (gaps_ != nullptr) gaps_->Add(told - before);
    return;
  }
  times_.first_token = told;
  if (metrics_ != nullptr) metrics_->ObserveFirstToken(times_);
}

void RequestLife::End(const TokenEvent& event) {
  if (metrics_ != nullptr && event.status.ok()) metrics_->ObserveEnd(times_, *event.finish);
  // What ends with a lost rank ends on another thread, and nobody will write the trace.
  if (trace_ != nullptr && !absl::IsUnavailable(event.status)) AddToTrace();
}

void RequestLife::AddToTrace() const {
  const auto add = [&](const char* name, RequestTimes::Time begin, RequestTimes::Time end, int64_t tokens) {
    if (begin < end) trace_->Add({name, Trace::Track::kRequests, begin, end, id_, tokens});
  };
  const auto until = [&](RequestTimes::Time time) { return std::min(time, times_.ended); };
  add("queued", times_.arrived, until(times_.started), -1);
  add("prefill", times_.started, until(times_.first_token), times_.prompt_tokens);
  add("decode", times_.first_token, times_.ended, times_.generated_tokens);
}

}  // namespace ternion
