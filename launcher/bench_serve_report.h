#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "launcher/bench_serve_load.h"
#include "launcher/bench_serve_stream.h"

// The numbers of `ternion bench serve`, defined and worded as those of vLLM's serving benchmark, so that what
// reads its output reads this.
namespace ternion {

// What a request must keep within to count for goodput.
struct GoodputLimits {
  std::optional<double> ttft_ms;
  std::optional<double> tpot_ms;
  std::optional<double> e2el_ms;

  bool any() const { return ttft_ms || tpot_ms || e2el_ms; }
  bool Holds(const RequestRecord& record) const;
};

// "ttft:200", "tpot:50", "e2el:10000", each once at most. kInvalidArgument.
absl::StatusOr<GoodputLimits> ParseGoodput(const std::vector<std::string>& limits);

// Linear between the two nearest values, as numpy's percentile. `sorted` is ascending; 0 where it is empty.
double Percentile(const std::vector<double>& sorted, double percent);

// Latencies of one kind.
struct Latencies {
  std::string_view key;    // "ttft"
  std::string_view title;  // "Time to First Token"
  std::vector<double> sorted_ms;

  double Mean() const;
  double Deviation() const;  // of all, not of a sample
};

struct Summary {
  int64_t completed = 0;
  int64_t failed = 0;
  int64_t refused = 0;            // HTTP 429
  int64_t other_lengths = 0;      // of the completed: fewer or more tokens than asked for
  int64_t counted_by_chunks = 0;  // of the completed: the server gave no usage
  int64_t good = 0;               // of the completed: within the limits
  int64_t input_tokens = 0;       // of the completed, as all that follows
  int64_t output_tokens = 0;
  double duration = 0;           // seconds
  double p99_send_delay = 0;     // seconds by which the 99th percentile of requests was sent after it was due
  std::vector<Latencies> kinds;  // ttft; tpot, of answers of two tokens and more; itl; e2el

  double PerSecond(int64_t count) const { return duration > 0 ? static_cast<double>(count) / duration : 0; }
};

Summary Summarize(const LoadResult& result, const GoodputLimits& limits);

// The block that the program prints. `limits`: a row of goodput where any is set.
std::string ReportText(const Summary& summary, const LoadResult& result, const LoadOptions& options,
                       const GoodputLimits& limits);

// Each reason of a failure or refusal once, with its count, the commonest first: "12 requests: HTTP 503:
// ...".
std::vector<std::string> FailureLines(const LoadResult& result);

// {"config": config, "summary": {...}, "requests": {arrays with one value a request}}; keys are vLLM's where
// it has one.
nlohmann::ordered_json ReportJson(const Summary& summary, const LoadResult& result,
                                  const GoodputLimits& limits, const nlohmann::ordered_json& config);

}  // namespace ternion
