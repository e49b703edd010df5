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
#include "kernels/cpu/read_bandwidth.h"
#include "kernels/status.h"
#include "launcher/bench.h"
#include "launcher/job.h"
#include "launcher/roofline.h"

namespace ternion {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kRepetitions = 3;
constexpr size_t kProbeBytes = size_t{512} << 20;

int MicroBatches(const JobOptions& options) {
  return options.micro_batches > 0 ? options.micro_batches : options.pp;
}

double Seconds(Clock::duration duration) { return std::chrono::duration<double>(duration).count(); }

// When the tokens of a batch of requests came.
class Arrivals {
 public:
  explicit Arrivals(int64_t batch) : times_(batch), open_(batch) {}

  void Take(int64_t request, const TokenEvent& event) {
    std::lock_guard lock(mutex_);
    if (event.token >= 0) times_[request].push_back(Clock::now());
    if (!event.finish && event.status.ok()) return;
    if (--open_ == 0) changed_.notify_all();
  }
  void Wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return open_ == 0; });
  }
  double FirstToken(Clock::time_point submitted) const { return Seconds(times_[0].front() - submitted); }
  // Tokens a second while all requests decode: from when all have their first token until one has its last; until all
  // have it where there is no such while.
  double DecodeRate() const {
    Clock::time_point begin = times_[0].front();
    Clock::time_point first_end = times_[0].back();
    Clock::time_point end = times_[0].back();
    for (const auto& times : times_) {
      begin = std::max(begin, times.front());
      first_end = std::min(first_end, times.back());
      end = std::max(end, times.back());
    }
    if (first_end > begin) end = first_end;
    int64_t tokens = 0;
    for (const auto& times : times_) {
      tokens += std::count_if(times.begin(), times.end(),
                              [&](Clock::time_point t) { return t > begin && t <= end; });
    }
    return static_cast<double>(tokens) / Seconds(end - begin);
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::vector<Clock::time_point>> times_;  // by request
  int64_t open_;
};

// How fast this rank reads its device's memory.
class ReadMeter {
 public:
  explicit ReadMeter(int threads) : probe_(std::make_unique<cpu::ReadProbe>(threads, kProbeBytes)) {}
  explicit ReadMeter(double bytes_a_second) : bytes_a_second_(bytes_a_second) {}

  // A host's rate changes with what else it does, so it is measured anew each time.
  double BytesASecond() { return probe_ != nullptr ? probe_->Measure() : bytes_a_second_; }

 private:
  std::unique_ptr<cpu::ReadProbe> probe_;
  double bytes_a_second_ = 0;
};

// Feeds the coordinator from a thread of its own: one batch of requests after the other.
class StepBench {
 public:
  StepBench(const StepBenchOptions& options, const ModelConfig& config, std::unique_ptr<ReadMeter> reads,
            Coordinator& coordinator)
      : options_(options),
        config_(config),
        micro_batches_(MicroBatches(options.job)),
        kv_format_(*ParseKvFormat(options.job.kv_cache)),
        reads_(std::move(reads)),
        coordinator_(coordinator),
        thread_([this] { Measure(); }) {}
  ~StepBench() { thread_.join(); }

 private:
  struct Measured {
    double value;
    double bytes_a_second;
    double coordinator_us;  // of a step
  };

  void Measure() {
    std::printf("%-28s %12s %12s %10s %10s %9s %15s\n", "step", "ms", "tokens/s", "read GB/s", "read ms",
                "ratio", "coordinator us");
    for (int64_t tokens : options_.prefill_tokens) {
      const Measured seconds = Median([&] {
        const Clock::time_point submitted = Clock::now();
        return RunBatch(1, tokens, 1)->FirstToken(submitted);
      });
      Print(absl::StrCat("prefill of ", tokens), {1, tokens, tokens}, seconds.value, seconds);
    }
    for (int64_t batch : options_.batches) {
      const Measured rate = Median(
          [&] { return RunBatch(batch * micro_batches_, 1, options_.decode_tokens + 1)->DecodeRate(); });
      const std::string name = micro_batches_ == 1
                                   ? absl::StrCat("decode, batch of ", batch)
                                   : absl::StrCat("decode, ", micro_batches_, " batches of ", batch);
      const int64_t positions = batch * (1 + options_.decode_tokens / 2);
      Print(name, {micro_batches_, batch, positions}, static_cast<double>(batch) / rate.value, rate);
    }
    coordinator_.Drain();
  }

  // The steps of a row.
  struct Steps {
    int in_flight;
    int64_t tokens;     // of one
    int64_t positions;  // of the cache that one reads
  };

  void Print(const std::string& name, const Steps& steps, double seconds, const Measured& measured) const {
    const double reading = RooflineSeconds(config_, options_.job.tp, options_.job.pp, kv_format_,
                                           steps.positions, steps.in_flight, measured.bytes_a_second);
    std::printf("%-28s %12.3f %12.1f %10.1f %10.3f %8.2fx %15.1f\n", name.c_str(), seconds * 1e3,
                static_cast<double>(steps.tokens) / seconds, measured.bytes_a_second / 1e9, reading * 1e3,
                seconds / reading, measured.coordinator_us);
    std::fflush(stdout);
  }

  // Of kRepetitions runs after one that warms up; the reads are measured before each.
  template <typename Run>
  Measured Median(Run run) {
    run();
    const StepTimes before = coordinator_.step_times();
    std::vector<double> values;
    std::vector<double> rates;
    for (int i = 0; i < kRepetitions; ++i) {
      rates.push_back(reads_->BytesASecond());
      values.push_back(run());
    }
    const auto median = [](std::vector<double>& all) {
      std::nth_element(all.begin(), all.begin() + kRepetitions / 2, all.end());
      return all[kRepetitions / 2];
    };
    const StepTimes times = coordinator_.step_times() - before;
    const std::chrono::duration<double, std::micro> coordinator = times.Coordinator();
    return {median(values), median(rates), coordinator.count() / static_cast<double>(times.steps)};
  }

  std::unique_ptr<Arrivals> RunBatch(int64_t batch, int64_t prompt, int64_t generate) {
    auto arrivals = std::make_unique<Arrivals>(batch);
    for (int64_t i = 0; i < batch; ++i) {
      GenerateRequest request;
      for (int64_t t = 0; t < prompt; ++t)
        request.prompt.push_back(static_cast<int32_t>((t * 7919 + i) % config_.shape.vocab));
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
  const ModelConfig& config_;
  const int micro_batches_;
  const KvFormat kv_format_;
  const std::unique_ptr<ReadMeter> reads_;
  Coordinator& coordinator_;
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
  const int micro_batches = MicroBatches(options.job);
  for (int64_t batch : options.batches) {
    if (batch < 1 || batch * micro_batches > options.job.max_sequences) {
      return absl::InvalidArgumentError(
          absl::StrCat("--batch ", batch, " in ", micro_batches, " micro-batches: from 1 to --max-sequences ",
                       options.job.max_sequences, " sequences can run at once"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

int BenchSteps(MpiSession& mpi, const StepBenchOptions& options) {
  StartLogging(options.job, mpi.rank());
  ModelConfig config;
  std::unique_ptr<ReadMeter> reads;
  std::unique_ptr<StepBench> bench;
  Job::Body body;
  body.before_load = [&](const Job::Plan& plan) -> absl::Status {
    config = plan.config;
    TERNION_RETURN_IF_ERROR(CheckOptions(options, config));
    if (!plan.cuda) {
      reads = std::make_unique<ReadMeter>(plan.threads);
      return absl::OkStatus();
    }
    TERNION_ASSIGN_OR_RETURN(const double rate, CudaReadRate(mpi.local_rank()));
    reads = std::make_unique<ReadMeter>(rate);
    return absl::OkStatus();
  };
  body.start = [&](Coordinator& coordinator) {
    bench = std::make_unique<StepBench>(options, config, std::move(reads), coordinator);
    return absl::OkStatus();
  };
  body.finish = [&](const absl::Status& run) {
    bench.reset();
    return run;
  };
  return Job::Run(mpi, options.job, body);
}

}  // namespace ternion
