#include "launcher/bench_serve_load.h"

#include <signal.h>
#include <sys/resource.h>

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"

namespace ternion {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;
using Clock = std::chrono::steady_clock;

// Files that are open beside the connections.
constexpr int64_t kOtherFiles = 32;
// Of a closed loop: a request is due when it is sent.
constexpr double kNow = -1;

class LoadRun {
 public:
  LoadRun(const LoadTarget& target, const Workload& workload, const LoadOptions& options,
          const std::function<void(int64_t)>& on_end)
      : target_(target),
        workload_(workload),
        options_(options),
        on_end_(on_end),
        records_(workload.requests()),
        io_(1),
        timer_(io_),
        signals_(io_, SIGINT, SIGTERM) {}

  LoadResult Run() {
    signals_.async_wait([this](error_code error, int) {
      if (error) return;
      interrupted_ = true;
      io_.stop();
    });
    if (options_.rate > 0) due_ = PoissonArrivals(options_.rate, workload_.requests(), options_.seed);
    MakeNextBody();
    begin_ = Clock::now();
    if (options_.rate > 0) {
      SendDue();
    } else {
      const int64_t clients = std::min(options_.concurrency, workload_.requests());
      for (int64_t i = 0; i < clients; ++i) SendNext(kNow);
    }
    io_.run();
    return Result();
  }

 private:
  double SinceBegin() const { return std::chrono::duration<double>(Clock::now() - begin_).count(); }

  // Open loop: sends what is due and sleeps until the next is.
  void SendDue() {
    while (next_ < workload_.requests() && due_[next_] <= SinceBegin()) SendNext(due_[next_]);
    if (next_ == workload_.requests()) return;
    timer_.expires_at(
        begin_ + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(due_[next_])));
    timer_.async_wait([this](error_code error) {
      if (!error) SendDue();
    });
  }

  // The body is there already: making it takes no part of a request's time.
  void SendNext(double due) {
    RequestRecord& record = records_[next_];
    record.due = due;
    record.output_len = workload_.output_len(next_);
    record.prompt_tokens = workload_.input_len(next_);
    peak_ = std::max(peak_, ++running_);
    ++next_;
    StartCompletion(io_, target_, std::exchange(body_, {}), begin_, record, [this] { Ended(); });
    MakeNextBody();
  }

  void MakeNextBody() {
    if (next_ < workload_.requests()) body_ = CompletionBody(workload_, next_, options_);
  }

  void Ended() {
    --running_;
    end_ = SinceBegin();
    on_end_(++ended_);
    if (options_.rate <= 0 && next_ < workload_.requests()) SendNext(kNow);
    // Nothing but the wait for a signal would keep the io_context busy.
    if (ended_ == workload_.requests()) signals_.cancel();
  }

  LoadResult Result() {
    LoadResult result;
    result.duration = interrupted_ ? SinceBegin() : end_;
    result.peak = peak_;
    result.interrupted = interrupted_;
    for (RequestRecord& record : records_) {
      if (record.end != RequestRecord::End::kPending) result.records.push_back(std::move(record));
    }
    return result;
  }

  const LoadTarget& target_;
  const Workload& workload_;
  const LoadOptions& options_;
  const std::function<void(int64_t)>& on_end_;
  std::vector<double> due_;  // of an open loop
  std::vector<RequestRecord> records_;
  std::string body_;  // of request next_
  Clock::time_point begin_;
  double end_ = 0;
  int64_t next_ = 0;
  int64_t running_ = 0;
  int64_t peak_ = 0;
  int64_t ended_ = 0;
  bool interrupted_ = false;
  // Last, so that connections that a signal has cut go while what they refer to is there.
  asio::io_context io_;
  asio::steady_timer timer_;
  asio::signal_set signals_;
};

}  // namespace

// Put together as text: the prompt is JSON already, and may be long.
std::string CompletionBody(const Workload& workload, int64_t request, const LoadOptions& options) {
  return absl::StrCat(
      "{\"model\":", nlohmann::json(options.model).dump(), ",\"prompt\":", workload.Prompt(request),
      ",\"max_tokens\":", workload.output_len(request), ",\"temperature\":", options.temperature,
      options.ignore_eos ? ",\"ignore_eos\":true" : "",
      ",\"stream\":true,\"stream_options\":{\"include_usage\":true}}");
}

LoadResult RunLoad(const LoadTarget& target, const Workload& workload, const LoadOptions& options,
                   const std::function<void(int64_t)>& on_end) {
  return LoadRun(target, workload, options, on_end).Run();
}

int64_t RaiseConnectionLimit() {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  getrlimit(RLIMIT_NOFILE, &limit);
  return static_cast<int64_t>(std::min<rlim_t>(limit.rlim_cur, 1u << 30)) - kOtherFiles;
}

}  // namespace ternion
