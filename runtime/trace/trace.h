#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>

namespace ternion {

// What the engine's thread of one rank did, and when: the spans that `--trace` writes. Not thread-safe.
class Trace {
 public:
  using Clock = std::chrono::steady_clock;
  enum class Track : uint8_t {
    kSteps,        // the rank's own work
    kCoordinator,  // rank 0's beside it
    kRequests,     // a request's queueing, prefill and decoding; requests overlap
  };
  struct Span {
    const char* name = nullptr;  // a literal
    Track track = Track::kSteps;
    Clock::time_point begin;
    Clock::time_point end;
    uint64_t id = 0;         // of the step or request; 0: none
    int64_t tokens = -1;     // of the step, or that a request's part had; -1: none
    int64_t sequences = -1;  // of the step; -1: none
  };

  // The newest spans are kept; they take 15 MB at most.
  static constexpr size_t kMostSpans = size_t{1} << 18;
  explicit Trace(size_t most_spans = kMostSpans) : most_spans_(most_spans) {}

  void Add(const Span& span) {
    spans_.push_back(span);
    if (spans_.size() <= most_spans_) return;
    spans_.pop_front();
    ++dropped_;
  }
  const std::deque<Span>& spans() const { return spans_; }
  int64_t dropped() const { return dropped_; }

 private:
  const size_t most_spans_;
  std::deque<Span> spans_;  // in order of their ends
  int64_t dropped_ = 0;
};

// Adds its own life to `trace`; does nothing without one.
class TraceSpan {
 public:
  TraceSpan(Trace* trace, const char* name, Trace::Track track = Trace::Track::kSteps) : trace_(trace) {
    if (trace_ == nullptr) return;
    span_.name = name;
    span_.track = track;
    span_.begin = Trace::Clock::now();
  }
  ~TraceSpan() {
    if (trace_ == nullptr) return;
    span_.end = Trace::Clock::now();
    trace_->Add(span_);
  }
  TraceSpan(const TraceSpan&) = delete;
  TraceSpan& operator=(const TraceSpan&) = delete;

  void SetStep(uint64_t step, int64_t tokens, int64_t sequences) {
    span_.id = step;
    span_.tokens = tokens;
    span_.sequences = sequences;
  }

 private:
  Trace* const trace_;
  Trace::Span span_;
};

}  // namespace ternion
