#include <signal.h>
#include <spdlog/spdlog.h>

#include <atomic>
#include <chrono>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "kernels/status.h"
#include "launcher/commands.h"
#include "launcher/drain.h"
#include "launcher/job.h"
#include "launcher/model.h"
#include "launcher/options.h"
#include "launcher/resources.h"
#include "net/cors.h"
#include "net/http_server.h"
#include "runtime/serving/serving_metrics.h"
#include "runtime/text/chat_template.h"
#include "runtime/text/tokenizer.h"

namespace ternion {
namespace {

struct ServeOptions {
  JobOptions job;
  ServerOptions server;
  std::string tokenizer;  // a folder or a .gguf file; empty: the model's
  std::vector<std::string> api_keys;
  std::string api_key_file;
  double drain_timeout = 30;  // seconds
};

// One key a line; empty lines do not count.
absl::StatusOr<std::vector<std::string>> ReadApiKeys(const ServeOptions& options) {
  std::vector<std::string> keys = options.api_keys;
  if (options.api_key_file.empty()) return keys;
  std::ifstream file(options.api_key_file);
  if (!file)
    return absl::NotFoundError(absl::StrCat("--api-key-file ", options.api_key_file, ": cannot be read"));
  for (std::string line; std::getline(file, line);) {
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.pop_back();
    if (!line.empty()) keys.push_back(line);
  }
  if (keys.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("--api-key-file ", options.api_key_file, " holds no key"));
  }
  return keys;
}

// The signals that end a server: the first lets the running requests finish, a second one does not wait. SIGHUP ends
// nothing.
class SignalThread {
 public:
  SignalThread(std::function<void()> first, std::function<void()> second, std::function<void()> hangup)
      : hangup_(std::move(hangup)),
        thread_([this, first = std::move(first), second = std::move(second)] { Wait(first, second); }) {}
  ~SignalThread() {
    stop_ = true;
    thread_.join();
  }

 private:
  void Wait(const std::function<void()>& first, const std::function<void()>& second) {
    sigset_t signals;
    sigemptyset(&signals);
    for (int signal : {SIGINT, SIGTERM, SIGUSR1, SIGHUP}) sigaddset(&signals, signal);
    for (int seen = 0; !stop_;) {
      const timespec limit{0, 200'000'000};
      const int signal = sigtimedwait(&signals, nullptr, &limit);
      if (signal == SIGHUP) hangup_();
      if (signal < 0 || signal == SIGHUP) continue;
      if (seen == 0) first();
      if (seen == 1) second();
      ++seen;
    }
  }

  const std::function<void()> hangup_;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

// What of SIGTERM and a lost rank comes within this time of each other has the same cause.
constexpr std::chrono::milliseconds kLossWindow{500};

// Of open files: those of MPI, of the control channel, and what the program reads and writes.
constexpr size_t kReservedFiles = 128;

// Rank 0's server around a job.
class Service {
 public:
  explicit Service(ServeOptions& options) : options_(options), metrics_(options.job.ModelName()) {}

  ServingMetrics& metrics() { return metrics_; }
  JobStatusBoard& status() { return status_; }

  absl::Status Bind(const ModelConfig& config) {
    const std::string& model = options_.tokenizer.empty() ? options_.job.model : options_.tokenizer;
    if (model.empty()) {
      return absl::InvalidArgumentError(
          "a synthetic model has no tokenizer: give --tokenizer a folder with a tokenizer.json or "
          "tokenizer.model");
    }
    TERNION_ASSIGN_OR_RETURN(tokenizer_, OpenTokenizer(model));
    if (!options_.tokenizer.empty() && tokenizer_->vocab_size() > config.shape.vocab) {
      return absl::InvalidArgumentError(absl::StrCat("--tokenizer ", model, " has ", tokenizer_->vocab_size(),
                                                     " tokens, the model ", config.shape.vocab));
    }
    constraints_ = std::make_unique<Constraints>(*tokenizer_);
    OpenChat(model);
    LimitConnections();
    TERNION_ASSIGN_OR_RETURN(options_.server.api_keys, ReadApiKeys(options_));
    options_.server.served_model_name = options_.job.ModelName();
    options_.server.version = TERNION_VERSION;
    TERNION_ASSIGN_OR_RETURN(server_, HttpServer::Bind(options_.server));
    return absl::OkStatus();
  }

  absl::Status Start(Coordinator& coordinator) {
    coordinator_ = &coordinator;
    const bool alone = options_.job.tp * options_.job.pp == 1;
    const Drain::Limits limits{Milliseconds(options_.drain_timeout), alone ? Milliseconds(0) : kLossWindow};
    drain_ = std::make_unique<Drain>(*server_, coordinator, limits);
    signals_ = std::make_unique<SignalThread>([this] { drain_->Begin(); }, [this] { drain_->Cut(); },
                                              [this] { ReloadCertificate(); });
    ModelService service{coordinator_, tokenizer_.get(), chat_.get(), chat_refusal_};
    service.metrics = [this] { return metrics_.Text(); };
    service.job = &status_;
    service.constraints = constraints_.get();
    service.drain = [this] { drain_->Begin(); };
    server_->Serve(service);
    spdlog::info("serving {} on {}://{}:{}", options_.job.ModelName(),
                 options_.server.tls_cert.empty() ? "http" : "https", options_.server.host, server_->port());
    return absl::OkStatus();
  }

  absl::Status Finish(const absl::Status& run) {
    signals_.reset();
    server_->Stop();
    drain_.reset();
    LogStepTimes();
    if (run.ok()) spdlog::info("drained, all requests have ended");
    return run;
  }

 private:
  void ReloadCertificate() {
    const absl::Status reloaded = server_->ReloadCertificate();
    if (reloaded.ok())
      return spdlog::info("SIGHUP: the certificate {} was read again", options_.server.tls_cert);
    spdlog::warn("SIGHUP: nothing was changed: {}", std::string(reloaded.message()));
  }

  void LogStepTimes() const {
    const StepTimes times = coordinator_->step_times();
    if (times.steps == 0) return;
    spdlog::info("{} steps; the coordinator took {:.1f} us of each", times.steps,
                 std::chrono::duration<double, std::micro>(times.Coordinator()).count() /
                     static_cast<double>(times.steps));
  }

  // Each connection is an open file. Those that could not be accepted would wait unheard.
  void LimitConnections() {
    const size_t files = static_cast<size_t>(RaiseFileLimit());
    const size_t room = files > 2 * kReservedFiles ? files - kReservedFiles : files / 2;
    if (options_.server.max_connections <= room) return;
    spdlog::warn("this process may open {} files (ulimit -n): {} connections at a time, instead of {}", files,
                 room, options_.server.max_connections);
    options_.server.max_connections = room;
  }

  // A model that cannot chat still completes.
  void OpenChat(const std::string& model) {
    auto chat = ChatTemplate::Open(ChatTemplateSource(model), *tokenizer_);
    if (chat.ok()) {
      chat_ = *std::move(chat);
      return;
    }
    chat_refusal_ = std::string(chat.status().message());
    spdlog::warn("chat requests are refused: {}", chat_refusal_);
  }

  ServeOptions& options_;
  ServingMetrics metrics_;
  JobStatusBoard status_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::unique_ptr<Constraints> constraints_;
  std::unique_ptr<ChatTemplate> chat_;
  std::string chat_refusal_;  // why there is none
  std::unique_ptr<HttpServer> server_;
  Coordinator* coordinator_ = nullptr;
  std::unique_ptr<Drain> drain_;
  std::unique_ptr<SignalThread> signals_;
};

int Serve(MpiSession& mpi, ServeOptions& options) {
  StartLogging(options.job, mpi.rank());
  Service service(options);
  Job::Body body;
  body.metrics = &service.metrics();
  body.status = &service.status();
  body.before_load = [&](const Job::Plan& plan) { return service.Bind(plan.config); };
  body.start = [&](Coordinator& coordinator) { return service.Start(coordinator); };
  body.finish = [&](const absl::Status& run) { return service.Finish(run); };
  return Job::Run(mpi, options.job, body);
}

}  // namespace

void AddServe(CLI::App& app, Command& chosen) {
  CLI::App* command = app.add_subcommand("serve", "OpenAI-compatible server; rank 0 listens");
  auto options = std::make_shared<ServeOptions>();
  options->job.lost_rank_linger = 3;
  AddJobOptions(*command, options->job);
  AddOption(*command, "--lost-rank-linger", options->job.lost_rank_linger,
            "of --rank-timeout, seconds in which a server that has lost a rank tells its clients so (503)")
      ->check(CLI::Range(0.0, 3600.0));
  AddOption(*command, "--tokenizer", options->tokenizer,
            "folder with a tokenizer.json or tokenizer.model, or a .gguf file; default: MODEL");
  AddTraceOption(*command, options->job);
  AddFlag(*command, "--no-prefix-caching,--no-enable-prefix-caching", options->job.no_prefix_caching,
          "compute every prompt whole, even where others began alike");
  AddOption(*command, "--max-queue-time", options->job.max_queue_time,
            "seconds that a request may wait for its turn, after which it is refused (429); 0: no limit")
      ->check(CLI::Range(0.0, 1e6));
  AddOption(*command, "--host", options->server.host, "address to listen on");
  AddOption(*command, "--port", options->server.port, "port to listen on; 0: a free one");
  AddOption(*command, "--api-key", options->api_keys,
            "key that clients must send; may be given several times");
  AddOption(*command, "--api-key-file", options->api_key_file, "file with a key a line");
  CLI::Option* certificate = AddOption(
      *command, "--tls-cert", options->server.tls_cert,
      "PEM file with the certificate that clients are shown, and those behind it; SIGHUP reads it again");
  CLI::Option* key = AddOption(*command, "--tls-key", options->server.tls_key, "PEM file with its key");
  certificate->needs(key)->type_name("FILE");
  key->needs(certificate)->type_name("FILE");
  AddOption(*command, "--max-body-bytes", options->server.max_body_bytes, "longest request body")
      ->check(CLI::PositiveNumber);
  AddOption(*command, "--max-buffered-bytes", options->server.max_buffered_bytes,
            "of tokens that wait for a client to read; with more the client is dropped")
      ->check(CLI::Range(size_t{16} << 10, size_t{1} << 40));
  AddOption(*command, "--max-connections", options->server.max_connections, "clients at once; others get 503")
      ->check(CLI::PositiveNumber);
  AddOption(
      *command, "--cors-origin", options->server.cors_origins,
      "https://HOST[:PORT] of a web page that may use the server from a browser; may be given several times")
      ->check([](const std::string& origin) { return Cors::CheckOrigin(origin); });
  AddFlag(*command, "--metrics-open", options->server.metrics_open, "GET /metrics needs no key");
  AddOption(*command, "--drain-timeout", options->drain_timeout,
            "seconds that running requests get to finish")
      ->check(CLI::NonNegativeNumber);
  command->callback([options, &chosen] {
    chosen.takes_signals = true;
    chosen.run = [options](MpiSession& mpi) { return Serve(mpi, *options); };
  });
}

}  // namespace ternion
