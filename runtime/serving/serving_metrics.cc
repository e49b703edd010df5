#include "runtime/serving/serving_metrics.h"

#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <array>
#include <mutex>
#include <sstream>
#include <utility>

namespace ternion {
namespace {

using prometheus::Counter;
using prometheus::Family;
using prometheus::Gauge;
using prometheus::Histogram;
using prometheus::Labels;
using Buckets = Histogram::BucketBoundaries;

double Seconds(std::chrono::nanoseconds time) { return std::chrono::duration<double>(time).count(); }

// vLLM's, and finer below, where a small model needs it.
Buckets FirstTokenSeconds() {
  return {0.001, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75,
          1,     2.5,    5,     7.5,  10,   20,   40,   80,   160, 640,  2560};
}
Buckets TokenSeconds() {
  return {0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3,
          0.4,    0.5,   0.75,   1,     2.5,  5,     7.5,  10,    20,  40,   80};
}
Buckets RequestSeconds() {
  return {0.005, 0.01, 0.025, 0.05, 0.1, 0.3, 0.5, 0.8, 1,   1.5, 2,   2.5,  5,
          10,    15,   20,    30,   40,  50,  60,  120, 240, 480, 960, 1920, 7680};
}
Buckets RequestTokens() {
  return {1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000, 100000};
}
Buckets StepTokens() { return {1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384}; }
Buckets StepSeconds() {
  return {1e-6, 2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3,
          5e-3, 1e-2, 2e-2, 5e-2, 0.1,  0.2,  0.5,  1,    2,    5};
}

// Sets a counter to what was counted elsewhere.
void RaiseTo(Counter& counter, int64_t value) {
  counter.Increment(static_cast<double>(value) - counter.Value());
}

template <typename T, typename Builder>
Family<T>& Register(Builder builder, prometheus::Registry& registry, const char* name, const char* help,
                    const Labels& labels = {}) {
  return builder.Name(name).Help(help).Labels(labels).Register(registry);
}

}  // namespace

struct ServingMetrics::Families {
  explicit Families(std::string_view model_name) : model({{"model_name", std::string(model_name)}}) {
    for (int i = 0; i < kStepPhases; ++i) {
      phases[i] = &step_seconds.Add({{"phase", std::string(StepPhaseName(static_cast<StepPhase>(i)))}},
                                    StepSeconds());
    }
    for (const FinishReason reason : {FinishReason::kStop, FinishReason::kLength, FinishReason::kCancelled}) {
      Ended(reason);
    }
  }

  Gauge& MakeGauge(const char* name, const char* help) {
    return Register<Gauge>(prometheus::BuildGauge(), registry, name, help, model).Add({});
  }
  Counter& MakeCounter(const char* name, const char* help) {
    return Register<Counter>(prometheus::BuildCounter(), registry, name, help, model).Add({});
  }
  Histogram& MakeHistogram(const char* name, const char* help, const Buckets& buckets) {
    return Register<Histogram>(prometheus::BuildHistogram(), registry, name, help, model).Add({}, buckets);
  }
  Family<Gauge>& GaugeFamily(const char* name, const char* help) {
    return Register<Gauge>(prometheus::BuildGauge(), registry, name, help);
  }
  Counter& Ended(FinishReason reason) {
    return ended.Add({{"finished_reason", std::string(FinishReasonName(reason))}});
  }

  const Labels model;
  prometheus::Registry registry;
  std::mutex scrape_mutex;  // one scrape at a time
  std::function<void(ServingMetrics&)> before_scrape;

  Gauge& running = MakeGauge("vllm:num_requests_running", "Requests that have a place in the batch.");
  Gauge& waiting = MakeGauge("vllm:num_requests_waiting", "Requests that wait for a place in the batch.");
  Gauge& cache_used = MakeGauge("vllm:kv_cache_usage_perc", "Share of the KV blocks in use; 1 is all.");
  Counter& prefix_queries =
      MakeCounter("vllm:prefix_cache_queries_total", "Prompt tokens looked up in the prefix cache.");
  Counter& prefix_hits =
      MakeCounter("vllm:prefix_cache_hits_total", "Prompt tokens found in the prefix cache.");
  Counter& preemptions = MakeCounter("vllm:num_preemptions_total",
                                     "Times that a request gave its KV blocks back and began anew.");
  Counter& prompt_tokens =
      MakeCounter("vllm:prompt_tokens_total", "Prompt tokens of requests that got their first token.");
  Counter& generated_tokens = MakeCounter("vllm:generation_tokens_total", "Generated tokens.");
  Family<Counter>& ended =
      Register<Counter>(prometheus::BuildCounter(), registry, "vllm:request_success_total",
                        "Requests that have ended, but for those that failed.", model);
  Histogram& first_token = MakeHistogram("vllm:time_to_first_token_seconds",
                                         "From a request's coming to its first token.", FirstTokenSeconds());
  const Buckets token_bounds = TokenSeconds();
  Histogram& token =
      MakeHistogram("vllm:inter_token_latency_seconds", "Between two tokens of a request.", token_bounds);
  Histogram& whole = MakeHistogram("vllm:e2e_request_latency_seconds", "From a request's coming to its end.",
                                   RequestSeconds());
  Histogram& queued = MakeHistogram("vllm:request_queue_time_seconds",
                                    "From a request's coming to its first step.", RequestSeconds());
  Histogram& prefill = MakeHistogram("vllm:request_prefill_time_seconds",
                                     "From a request's first step to its first token.", RequestSeconds());
  Histogram& decode = MakeHistogram("vllm:request_decode_time_seconds",
                                    "From a request's first token to its last.", RequestSeconds());
  Histogram& request_prompt =
      MakeHistogram("vllm:request_prompt_tokens", "Prompt tokens of a request.", RequestTokens());
  Histogram& request_generated =
      MakeHistogram("vllm:request_generation_tokens", "Generated tokens of a request.", RequestTokens());
  Histogram& step_tokens = MakeHistogram("vllm:iteration_tokens_total", "Tokens of a step.", StepTokens());

  Family<Histogram>& step_seconds =
      Register<Histogram>(prometheus::BuildHistogram(), registry, "ternion:step_seconds",
                          "Rank 0's loop, each phase of a step. coordinator: all phases of a step but run.");
  std::array<Histogram*, kStepPhases> phases{};
  Histogram& coordinator = step_seconds.Add({{"phase", "coordinator"}}, StepSeconds());
  Family<Counter>& wire_bytes =
      Register<Counter>(prometheus::BuildCounter(), registry, "ternion:wire_bytes_total",
                        "Bytes that ranks have sent each other, within a host or over the network.");
  // Without a sample where nothing is counted.
  Family<Gauge>& skipped =
      GaugeFamily("ternion:weights_skipped_ratio",
                  "Of the weights of layers that can skip, over all tokens, the share that was not read.");
  Family<Gauge>& rank_up = GaugeFamily("ternion:rank_up", "1 while the rank is connected.");
  Family<Gauge>& rank_heard =
      GaugeFamily("ternion:rank_last_heartbeat_seconds", "Seconds since the rank was last heard.");
  Family<Gauge>& info = GaugeFamily("ternion:info", "What the job is made of; always 1.");
};

ServingMetrics::ServingMetrics(std::string_view model_name)
    : families_(std::make_unique<Families>(model_name)) {}
ServingMetrics::~ServingMetrics() = default;

void ServingMetrics::ObservePhase(StepPhase phase, std::chrono::nanoseconds time) {
  families_->phases[static_cast<size_t>(phase)]->Observe(Seconds(time));
}

void ServingMetrics::ObserveStep(int64_t tokens, std::chrono::nanoseconds coordinator) {
  families_->step_tokens.Observe(static_cast<double>(tokens));
  families_->coordinator.Observe(Seconds(coordinator));
}

void ServingMetrics::ObserveFirstToken(const RequestTimes& times) {
  families_->prompt_tokens.Increment(static_cast<double>(times.prompt_tokens));
  families_->generated_tokens.Increment();
  families_->first_token.Observe(Seconds(times.first_token - times.arrived));
}

void ServingMetrics::ObserveTokens(const TokenGaps& gaps) {
  if (gaps.gaps().empty()) return;
  const Buckets& bounds = families_->token_bounds;
  std::vector<double> buckets(bounds.size() + 1);  // one more for what is longer than all
  double tokens = 0, seconds = 0;
  for (const TokenGaps::Gap& gap : gaps.gaps()) {
    const auto count = static_cast<double>(gap.tokens);
    const auto bucket = std::lower_bound(bounds.begin(), bounds.end(), Seconds(gap.length));
    buckets[static_cast<size_t>(bucket - bounds.begin())] += count;
    tokens += count;
    seconds += count * Seconds(gap.length);
  }
  families_->generated_tokens.Increment(tokens);
  families_->token.ObserveMultiple(buckets, seconds);
}

void ServingMetrics::ObserveEnd(const RequestTimes& times, FinishReason reason) {
  Families& f = *families_;
  f.Ended(reason).Increment();
  if (reason == FinishReason::kCancelled || times.first_token == RequestTimes::kNever) return;
  f.whole.Observe(Seconds(times.ended - times.arrived));
  f.queued.Observe(Seconds(times.started - times.arrived));
  f.prefill.Observe(Seconds(times.first_token - times.started));
  f.decode.Observe(Seconds(times.last_token - times.first_token));
  f.request_prompt.Observe(static_cast<double>(times.prompt_tokens));
  f.request_generated.Observe(static_cast<double>(times.generated_tokens));
}

void ServingMetrics::BeforeScrape(std::function<void(ServingMetrics&)> before_scrape) {
  const std::lock_guard lock(families_->scrape_mutex);
  families_->before_scrape = std::move(before_scrape);
}

void ServingMetrics::SetScheduler(const SchedulerStats& stats) {
  Families& f = *families_;
  f.running.Set(static_cast<double>(stats.running));
  f.waiting.Set(static_cast<double>(stats.waiting));
  if (stats.blocks > 0)
    f.cache_used.Set(static_cast<double>(stats.used_blocks) / static_cast<double>(stats.blocks));
  RaiseTo(f.prefix_queries, stats.prefix_query_tokens);
  RaiseTo(f.prefix_hits, stats.prefix_hit_tokens);
  RaiseTo(f.preemptions, stats.preemptions);
}

void ServingMetrics::SetRank(int rank, bool up, double seconds_since_heard) {
  const Labels labels = {{"rank", std::to_string(rank)}};
  families_->rank_up.Add(labels).Set(up ? 1 : 0);
  families_->rank_heard.Add(labels).Set(seconds_since_heard);
}

void ServingMetrics::SetWireBytes(std::string_view kind, std::string_view link, int64_t bytes) {
  RaiseTo(families_->wire_bytes.Add({{"kind", std::string(kind)}, {"link", std::string(link)}}), bytes);
}

void ServingMetrics::SetWeightSkips(const WeightSkips& weights) {
  families_->skipped.Add({}).Set(static_cast<double>(weights.skipped) / static_cast<double>(weights.weights));
}

void ServingMetrics::SetInfo(const std::map<std::string, std::string>& labels) {
  families_->info.Add(labels).Set(1);
}

int64_t ServingMetrics::prompt_tokens() const {
  return static_cast<int64_t>(families_->prompt_tokens.Value());
}

int64_t ServingMetrics::generated_tokens() const {
  return static_cast<int64_t>(families_->generated_tokens.Value());
}

std::string ServingMetrics::Text() {
  const std::lock_guard lock(families_->scrape_mutex);
  if (families_->before_scrape) families_->before_scrape(*this);
  std::ostringstream out;
  prometheus::TextSerializer().Serialize(out, families_->registry.Collect());
  return out.str();
}

}  // namespace ternion
