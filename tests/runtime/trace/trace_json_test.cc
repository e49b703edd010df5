#include "runtime/trace/trace_json.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"

namespace ternion {
namespace {

using nlohmann::json;
using std::chrono::microseconds;
using std::chrono::nanoseconds;

Trace::Clock::time_point At(int64_t ns) { return Trace::Clock::time_point(nanoseconds(ns)); }

Trace::Span Span(int64_t begin_ns, int64_t end_ns) {
  return {"layers", Trace::Track::kSteps, At(begin_ns), At(end_ns)};
}

json Events(const Trace& trace, int rank = 0, const TraceClock& clock = {}) {
  return json::parse(absl::StrCat("[", TraceEvents(trace, rank, "rank \"0\"", clock), "]"));
}

TEST(Trace, KeepsTheNewestAndCountsTheRest) {
  Trace trace(3);
  for (int64_t i = 0; i < 5; ++i) trace.Add(Span(i, i + 1));
  EXPECT_EQ(trace.dropped(), 2);
  ASSERT_EQ(trace.spans().size(), 3u);
  EXPECT_EQ(trace.spans().front().begin, At(2));
}

TEST(Trace, ASpanWithoutATraceDoesNothing) {
  TraceSpan span(nullptr, "step");
  span.SetStep(1, 2, 3);
}

TEST(Trace, SpansNest) {
  Trace trace;
  {
    TraceSpan outer(&trace, "step");
    outer.SetStep(7, 20, 4);
    const TraceSpan inner(&trace, "layers");
  }
  ASSERT_EQ(trace.spans().size(), 2u);
  const Trace::Span &inner = trace.spans()[0], &outer = trace.spans()[1];
  EXPECT_LE(outer.begin, inner.begin);
  EXPECT_LE(inner.end, outer.end);
  EXPECT_EQ(outer.id, 7u);
}

TEST(TraceJson, CompleteEventsOfAStep) {
  Trace trace;
  Trace::Span step = Span(5'500, 7'250);
  step.id = 9;
  step.tokens = 12;
  step.sequences = 3;
  trace.Add(step);
  const json events = Events(trace, /*rank=*/2);
  EXPECT_EQ(events.back(),
            json::parse(R"({"ph": "X", "name": "layers", "pid": 2, "tid": 0, "ts": 5.5, "dur": 1.75,
      "args": {"step": 9, "tokens": 12, "sequences": 3}})"));
  EXPECT_EQ(events[0]["name"], "process_name");
  EXPECT_EQ(events[0]["args"]["name"], "rank \"0\"");
}

TEST(TraceJson, RequestsAreAsyncEventsOfTheirId) {
  Trace trace;
  trace.Add({"queued", Trace::Track::kRequests, At(1'000), At(3'000), 41, 8});
  const json events = Events(trace);
  const json begin = events[events.size() - 2], end = events.back();
  EXPECT_EQ(begin["ph"], "b");
  EXPECT_EQ(end["ph"], "e");
  EXPECT_EQ(begin["ts"], 1);
  EXPECT_EQ(end["ts"], 3);
  for (const char* key : {"id", "cat", "name", "pid"}) EXPECT_EQ(begin[key], end[key]) << key;
  EXPECT_EQ(begin["id"], 41);
  EXPECT_EQ(begin["args"]["tokens"], 8);
}

TEST(TraceJson, AnEmptyTraceIsValid) { EXPECT_TRUE(Events(Trace()).is_array()); }

TEST(TraceClock, AnotherHostsClockIsMovedAndItsDriftSpread) {
  TraceClock clock;
  clock.begin = microseconds(100);  // rank 0's clock
  clock.first = {microseconds(1'000), microseconds(900)};
  clock.last = {microseconds(3'000), microseconds(920)};
  EXPECT_DOUBLE_EQ(clock.Microseconds(At(1'000'000)), 1'000 - 900 - 100);
  EXPECT_DOUBLE_EQ(clock.Microseconds(At(2'000'000)), 2'000 - 910 - 100);
  EXPECT_DOUBLE_EQ(clock.Microseconds(At(3'000'000)), 3'000 - 920 - 100);
}

}  // namespace
}  // namespace ternion
