#include "runtime/trace/trace_json.h"

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "kernels/status.h"

namespace ternion {
namespace {

// A thread of the picture.
int ThreadOf(Trace::Track track) { return static_cast<int>(track); }

std::string Quoted(std::string_view text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

void AppendName(std::string* out, std::string_view what, int rank, int thread, std::string_view name) {
  absl::StrAppend(out, R"({"ph":"M","name":")", ToAbsl(what), R"(","pid":)", rank, R"(,"tid":)", thread,
                  R"(,"args":{"name":)", Quoted(name), "}},\n");
}

void AppendNumber(std::string* out, absl::string_view name, int64_t value) {
  if (value < 0) return;
  absl::StrAppend(out, out->back() == '{' ? "" : ",", "\"", name, "\":", value);
}

void AppendArguments(std::string* out, const Trace::Span& span, absl::string_view id_name) {
  absl::StrAppend(out, R"(,"args":{)");
  if (span.id > 0) AppendNumber(out, id_name, static_cast<int64_t>(span.id));
  AppendNumber(out, "tokens", span.tokens);
  AppendNumber(out, "sequences", span.sequences);
  absl::StrAppend(out, "}");
}

void AppendComplete(std::string* out, const Trace::Span& span, int rank, double begin, double end) {
  absl::StrAppendFormat(out, R"({"ph":"X","name":"%s","pid":%d,"tid":%d,"ts":%.3f,"dur":%.3f)", span.name,
                        rank, ThreadOf(span.track), begin, end - begin);
  AppendArguments(out, span, "step");
  absl::StrAppend(out, "},\n");
}

// Requests overlap, which complete events of one thread must not.
void AppendRequest(std::string* out, const Trace::Span& span, int rank, double begin, double end) {
  for (const bool ends : {false, true}) {
    absl::StrAppendFormat(
        out, R"({"ph":"%s","cat":"request","id":%d,"name":"%s","pid":%d,"tid":%d,"ts":%.3f)",
        ends ? "e" : "b", span.id, span.name, rank, ThreadOf(span.track), ends ? end : begin);
    if (!ends) AppendArguments(out, span, "request");
    absl::StrAppend(out, "},\n");
  }
}

}  // namespace

double TraceClock::Microseconds(Trace::Clock::time_point time) const {
  const std::chrono::nanoseconds mine = time.time_since_epoch();
  std::chrono::duration<double, std::nano> ahead = first.ahead;
  if (last.at > first.at) {
    ahead += (last.ahead - first.ahead) * (static_cast<double>((mine - first.at).count()) /
                                           static_cast<double>((last.at - first.at).count()));
  }
  return std::chrono::duration<double, std::micro>(mine - begin - ahead).count();
}

std::string TraceEvents(const Trace& trace, int rank, std::string_view name, const TraceClock& clock) {
  std::string out;
  AppendName(&out, "process_name", rank, 0, name);
  AppendName(&out, "thread_name", rank, ThreadOf(Trace::Track::kSteps), "steps");
  if (rank == 0) AppendName(&out, "thread_name", rank, ThreadOf(Trace::Track::kCoordinator), "coordinator");
  for (const Trace::Span& span : trace.spans()) {
    const auto append = span.track == Trace::Track::kRequests ? AppendRequest : AppendComplete;
    append(&out, span, rank, clock.Microseconds(span.begin), clock.Microseconds(span.end));
  }
  out.erase(out.size() - 2);  // the comma and line break of the last
  return out;
}

}  // namespace ternion
