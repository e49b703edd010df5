#include "launcher/bench_serve_report.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "kernels/status.h"

namespace ternion {
namespace {

using nlohmann::ordered_json;
using End = RequestRecord::End;

constexpr size_t kWidth = 50;

std::string Row(std::string_view name, int64_t value) {
  return absl::StrFormat("%-40s %-10d\n", name, value);
}

std::string Row(std::string_view name, double value) {
  return absl::StrFormat("%-40s %-10.2f\n", name, value);
}

std::string Rule(std::string_view title, char line) {
  const size_t left = (kWidth - title.size()) / 2;
  return std::string(left, line).append(title).append(kWidth - title.size() - left, line) + "\n";
}

std::string Upper(std::string_view key) { return absl::AsciiStrToUpper(ToAbsl(key)); }

std::string_view EndName(End end) {
  if (end == End::kDone) return "done";
  return end == End::kRefused ? "refused" : "failed";
}

void AppendLatencies(const Latencies& kind, ordered_json& out) {
  const std::string tail = absl::StrCat("_", ToAbsl(kind.key), "_ms");
  out["mean" + tail] = kind.Mean();
  out["median" + tail] = Percentile(kind.sorted_ms, 50);
  out["std" + tail] = kind.Deviation();
  for (const int percent : {90, 95, 99}) {
    out[absl::StrCat("p", percent, tail)] = Percentile(kind.sorted_ms, percent);
  }
}

ordered_json SummaryJson(const Summary& summary, const LoadResult& result, const GoodputLimits& limits) {
  ordered_json out;
  out["duration"] = summary.duration;
  out["completed"] = summary.completed;
  out["failed"] = summary.failed;
  out["refused"] = summary.refused;
  out["other_length_than_asked"] = summary.other_lengths;
  out["counted_by_chunks"] = summary.counted_by_chunks;
  out["interrupted"] = result.interrupted;
  out["total_input_tokens"] = summary.input_tokens;
  out["total_output_tokens"] = summary.output_tokens;
  out["request_throughput"] = summary.PerSecond(summary.completed);
  if (limits.any()) {
    out["good"] = summary.good;
    out["request_goodput"] = summary.PerSecond(summary.good);
  }
  out["output_throughput"] = summary.PerSecond(summary.output_tokens);
  out["total_token_throughput"] = summary.PerSecond(summary.input_tokens + summary.output_tokens);
  out["max_concurrent_requests"] = result.peak;
  out["p99_send_delay_ms"] = summary.p99_send_delay * 1e3;
  for (const Latencies& kind : summary.kinds) AppendLatencies(kind, out);
  return out;
}

// Seconds to the microsecond: more digits would only make the file longer.
double Micro(double seconds) { return std::round(seconds * 1e6) / 1e6; }

// Arrays of one value a request; seconds, as in vLLM's files.
ordered_json RequestsJson(const std::vector<RequestRecord>& records) {
  ordered_json out;
  for (const char* key : {"status", "errors", "input_lens", "output_lens", "asked_output_lens", "start_times",
                          "send_delays", "ttfts", "tpots", "itls", "e2els"}) {
    out[key] = ordered_json::array();
  }
  for (const RequestRecord& record : records) {
    out["status"].push_back(EndName(record.end));
    out["errors"].push_back(record.error);
    out["input_lens"].push_back(record.prompt_tokens);
    out["output_lens"].push_back(record.completion_tokens);
    out["asked_output_lens"].push_back(record.output_len);
    out["start_times"].push_back(Micro(record.due));
    out["send_delays"].push_back(Micro(record.sent - record.due));
    out["ttfts"].push_back(Micro(record.ttft));
    out["tpots"].push_back(Micro(record.tpot()));
    ordered_json& itls = out["itls"].emplace_back(ordered_json::array());
    for (const double gap : record.itls) itls.push_back(Micro(gap));
    out["e2els"].push_back(Micro(record.e2el));
  }
  return out;
}

}  // namespace

bool GoodputLimits::Holds(const RequestRecord& record) const {
  const auto within = [](double seconds, const std::optional<double>& limit) {
    return !limit || seconds * 1e3 <= *limit;
  };
  return within(record.ttft, ttft_ms) && within(record.tpot(), tpot_ms) && within(record.e2el, e2el_ms);
}

absl::StatusOr<GoodputLimits> ParseGoodput(const std::vector<std::string>& limits) {
  GoodputLimits parsed;
  const std::map<std::string, std::optional<double>*> names = {
      {"ttft", &parsed.ttft_ms}, {"tpot", &parsed.tpot_ms}, {"e2el", &parsed.e2el_ms}};
  for (const std::string& text : limits) {
    const std::vector<std::string> parts = absl::StrSplit(text, ':');
    const auto found = names.find(parts[0]);
    double limit = 0;
    const bool good = parts.size() == 2 && found != names.end() && absl::SimpleAtod(parts[1], &limit);
    if (!good || !(limit > 0) || std::isinf(limit)) {
      return absl::InvalidArgumentError(
          absl::StrCat("--goodput ", text, ": write ttft:MS, tpot:MS or e2el:MS, in milliseconds above 0"));
    }
    if (found->second->has_value()) {
      return absl::InvalidArgumentError(absl::StrCat("--goodput ", text, ": ", parts[0], " is given twice"));
    }
    *found->second = limit;
  }
  return parsed;
}

double Percentile(const std::vector<double>& sorted, double percent) {
  if (sorted.empty()) return 0;
  const double place = percent / 100 * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(place);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (place - std::floor(place)) * (sorted[above] - sorted[below]);
}

double Latencies::Mean() const {
  if (sorted_ms.empty()) return 0;
  return std::accumulate(sorted_ms.begin(), sorted_ms.end(), 0.0) / static_cast<double>(sorted_ms.size());
}

double Latencies::Deviation() const {
  if (sorted_ms.empty()) return 0;
  const double mean = Mean();
  double squares = 0;
  for (const double value : sorted_ms) squares += (value - mean) * (value - mean);
  return std::sqrt(squares / static_cast<double>(sorted_ms.size()));
}

Summary Summarize(const LoadResult& result, const GoodputLimits& limits) {
  Summary summary;
  summary.duration = result.duration;
  summary.kinds = {{"ttft", "Time to First Token", {}},
                   {"tpot", "Time per Output Token (excl. 1st token)", {}},
                   {"itl", "Inter-token Latency", {}},
                   {"e2el", "End-to-end Latency", {}}};
  std::vector<double> delays;
  for (const RequestRecord& record : result.records) {
    delays.push_back(Micro(record.sent - record.due));
    if (record.end == End::kRefused) ++summary.refused;
    if (record.end == End::kFailed) ++summary.failed;
    if (record.end != End::kDone) continue;
    ++summary.completed;
    summary.other_lengths += record.completion_tokens != record.output_len;
    summary.counted_by_chunks += !record.counted_by_server;
    summary.good += limits.Holds(record);
    summary.input_tokens += record.prompt_tokens;
    summary.output_tokens += record.completion_tokens;
    summary.kinds[0].sorted_ms.push_back(record.ttft * 1e3);
    if (record.completion_tokens > 1) summary.kinds[1].sorted_ms.push_back(record.tpot() * 1e3);
    for (const double gap : record.itls) summary.kinds[2].sorted_ms.push_back(gap * 1e3);
    summary.kinds[3].sorted_ms.push_back(record.e2el * 1e3);
  }
  for (Latencies& kind : summary.kinds) std::sort(kind.sorted_ms.begin(), kind.sorted_ms.end());
  std::sort(delays.begin(), delays.end());
  summary.p99_send_delay = Percentile(delays, 99);
  return summary;
}

std::string ReportText(const Summary& summary, const LoadResult& result, const LoadOptions& options,
                       const GoodputLimits& limits) {
  const int64_t tokens = summary.input_tokens + summary.output_tokens;
  std::string text = Rule(" Serving Benchmark Result ", '=');
  text += Row("Successful requests:", summary.completed);
  text += Row("Failed requests:", summary.failed);
  text += Row("Refused requests (429):", summary.refused);
  if (options.concurrency > 0) text += Row("Maximum request concurrency:", options.concurrency);
  if (options.rate > 0) text += Row("Request rate configured (RPS):", options.rate);
  text += Row("Benchmark duration (s):", summary.duration);
  text += Row("Total input tokens:", summary.input_tokens);
  text += Row("Total generated tokens:", summary.output_tokens);
  text += Row("Request throughput (req/s):", summary.PerSecond(summary.completed));
  if (limits.any()) text += Row("Request goodput (req/s):", summary.PerSecond(summary.good));
  text += Row("Output token throughput (tok/s):", summary.PerSecond(summary.output_tokens));
  text += Row("Peak concurrent requests:", static_cast<double>(result.peak));
  text += Row("Total Token throughput (tok/s):", summary.PerSecond(tokens));
  for (const Latencies& kind : summary.kinds) {
    text += Rule(kind.title, '-');
    text += Row("Mean " + Upper(kind.key) + " (ms):", kind.Mean());
    text += Row("Median " + Upper(kind.key) + " (ms):", Percentile(kind.sorted_ms, 50));
    text += Row("P99 " + Upper(kind.key) + " (ms):", Percentile(kind.sorted_ms, 99));
  }
  return text + Rule("", '=');
}

std::vector<std::string> FailureLines(const LoadResult& result) {
  std::map<std::string, int64_t> reasons;
  for (const RequestRecord& record : result.records) {
    if (record.end != End::kDone) ++reasons[record.error];
  }
  std::vector<std::pair<std::string, int64_t>> ordered(reasons.begin(), reasons.end());
  std::stable_sort(ordered.begin(), ordered.end(),
                   [](const auto& one, const auto& other) { return one.second > other.second; });
  std::vector<std::string> lines;
  for (const auto& [reason, count] : ordered) {
    lines.push_back(absl::StrCat(count, count == 1 ? " request: " : " requests: ", reason));
  }
  return lines;
}

ordered_json ReportJson(const Summary& summary, const LoadResult& result, const GoodputLimits& limits,
                        const ordered_json& config) {
  ordered_json out;
  out["config"] = config;
  out["summary"] = SummaryJson(summary, result, limits);
  out["requests"] = RequestsJson(result.records);
  return out;
}

}  // namespace ternion
