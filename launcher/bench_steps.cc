#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "kernels/status.h"
#include "launcher/bench.h"
#include "launcher/job.h"

namespace ternion {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kRepetitions = 3;

double Seconds(Clock::duration duration) { return std::chrono::duration<double>(duration).count(); }

// When the tokens of a batch of requests came.
class Arrivals {
 public:
  explicit Arrivals(int64_t batch) : times_(batch), open_(batch) {}

  void Take(int64_t request, const TokenEvent& event) {
    std::lock_guard lock(mutex_);
    if (event.token >= 0) times_[request].push_back(Clock::now());
    if (event.finish || !event.status.ok()) --open_;
    changed_.notify_all();
  }
  void Wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return open_ == 0; });
  }
  double FirstToken(Clock::time_point submitted) const { return Seconds(times_[0].front() - submitted); }
  // Tokens a second from when all requests have their first token until all have their last.
  double DecodeRate() const {
    Clock::time_point begin = times_[0].front();
    Clock::time_point end = times_[0].back();
    for (const auto& times : times_) {
      begin = std::max(begin, times.front());
      end = std::max(end, times.back());
    }
    int64_t tokens = 0;
    for (const auto& times : times_) {
      tokens += std::count_if(times.begin(), times.end(), [&](Clock::time_point t) { return t > begin; });
    }
    return static_cast<double>(tokens) / Seconds(end - begin);
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::vector<Clock::time_point>> times_;  // by request
  int64_t open_;
};

// Feeds the coordinator from a thread of its own: one batch of requests after the other.
class StepBench {
 public:
  StepBench(const StepBenchOptions& options, Coordinator& coordinator, int64_t vocab)
      : options_(options), coordinator_(coordinator), vocab_(vocab), thread_([this] { Measure(); }) {}
  ~StepBench() { thread_.join(); }

 private:
  void Measure() {
    std::printf("%-24s %12s %12s\n", "step", "ms", "tokens/s");
    for (int64_t tokens : options_.prefill_tokens) {
      const double seconds = Median([&] {
        const Clock::time_point submitted = Clock::now();
        return RunBatch(1, tokens, 1)->FirstToken(submitted);
      });
      Print(absl::StrCat("prefill of ", tokens), seconds, static_cast<double>(tokens) / seconds);
    }
    for (int64_t batch : options_.batches) {
      const double rate =
          Median([&] { return RunBatch(batch, 1, options_.decode_tokens + 1)->DecodeRate(); });
      Print(absl::StrCat("decode, batch of ", batch), static_cast<double>(batch) / rate, rate);
    }
    coordinator_.Drain();
  }

  static void Print(const std::string& name, double seconds, double rate) {
    std::printf("%-24s %12.3f %12.1f\n", name.c_str(), seconds * 1e3, rate);
    std::fflush(stdout);
  }

  // Of kRepetitions runs after one that warms up.
  template <typename Run>
  static double Median(Run run) {
    run();
    std::vector<double> values;
    for (int i = 0; i < kRepetitions; ++i) values.push_back(run());
    std::nth_element(values.begin(), values.begin() + kRepetitions / 2, values.end());
    return values[kRepetitions / 2];
  }

  std::unique_ptr<Arrivals> RunBatch(int64_t batch, int64_t prompt, int64_t generate) {
    auto arrivals = std::make_unique<Arrivals>(batch);
    for (int64_t i = 0; i < batch; ++i) {
      GenerateRequest request;
      for (int64_t t = 0; t < prompt; ++t)
        request.prompt.push_back(static_cast<int32_t>((t * 7919 + i) % vocab_));
      request.max_tokens = generate;
      request.ignore_eos = true;
      Arrivals* taker = arrivals.get();
      const auto id =
          coordinator_.Submit(std::move(request), [taker, i](const TokenEvent& e) { taker->Take(i, e); });
      CHECK(id.ok(), std::string(id.status().message()));
    }
    arrivals->Wait();
    return arrivals;
  }

  const StepBenchOptions& options_;
  Coordinator& coordinator_;
  int64_t vocab_;
  std::thread thread_;
};

absl::Status CheckOptions(const StepBenchOptions& options, const ModelConfig& config) {
  const int64_t positions = options.job.max_model_len > 0 ? options.job.max_model_len : config.max_positions;
  for (int64_t tokens : options.prefill_tokens) {
    if (tokens < 1 || tokens >= positions) {
      return absl::InvalidArgumentError(
          absl::StrCat("--prefill ", tokens, " must be from 1 to ", positions - 1));
    }
  }
  if (options.decode_tokens < 1 || options.decode_tokens + 2 > positions) {
    return absl::InvalidArgumentError(absl::StrCat("--decode must be from 1 to ", positions - 2));
  }
  for (int64_t batch : options.batches) {
    if (batch < 1 || batch > options.job.max_sequences) {
      return absl::InvalidArgumentError(
          absl::StrCat("--batch ", batch, " must be from 1 to --max-sequences ", options.job.max_sequences));
    }
  }
  return absl::OkStatus();
}

}  // namespace

int BenchSteps(MpiSession& mpi, const StepBenchOptions& options) {
  StartLogging(options.job, mpi.rank());
  int64_t vocab = 1;
  std::unique_ptr<StepBench> bench;
  Job::Body body;
  body.before_load = [&]() -> absl::Status {
    TERNION_ASSIGN_OR_RETURN(const auto source, OpenModel(options.job));
    vocab = source->config().shape.vocab;
    return CheckOptions(options, source->config());
  };
  body.start = [&](Coordinator& coordinator) {
    bench = std::make_unique<StepBench>(options, coordinator, vocab);
    return absl::OkStatus();
  };
  body.finish = [&](const absl::Status& run) {
    bench.reset();
    return run;
  };
  return Job::Run(mpi, options.job, body);
}

}  // namespace ternion
