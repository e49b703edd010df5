#include "launcher/bench_serve.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "kernels/status.h"
#include "launcher/bench_serve_client.h"
#include "launcher/bench_serve_load.h"
#include "launcher/bench_serve_report.h"
#include "launcher/bench_serve_svg.h"
#include "launcher/bench_serve_workload.h"
#include "launcher/host.h"
#include "launcher/options.h"
#include "launcher/output_file.h"

namespace ternion {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

// Of bad lines in a file, and of reasons why requests failed.
constexpr size_t kMostLines = 20;
// From here on the generator's own lateness is worth a word.
constexpr double kLateSeconds = 0.01;

struct BenchServeOptions {
  std::string url = "http://127.0.0.1:8000";
  std::string api_key;
  double timeout = 600;  // seconds
  LoadOptions load;      // model: empty for the server's first
  WorkloadOptions workload;
  std::vector<std::string> goodput;
  std::string json;
  std::string svg;
};

// All that is known before the first request.
struct BenchPlan {
  BenchServeOptions options;
  GoodputLimits limits;
  Workload workload;
  LoadTarget target;
  std::unique_ptr<OutputFile> json;
  std::unique_ptr<OutputFile> svg;
};

int Fail(const absl::Status& status, int exit_code) {
  const std::vector<std::string> lines = absl::StrSplit(status.message(), '\n');
  for (size_t i = 0; i < std::min(lines.size(), kMostLines); ++i) {
    std::fprintf(stderr, "ternion: %s\n", lines[i].c_str());
  }
  if (lines.size() > kMostLines) std::fprintf(stderr, "ternion: and %zu more\n", lines.size() - kMostLines);
  return exit_code;
}

// What the command line alone can be wrong about.
absl::StatusOr<BenchPlan> MakePlan(BenchServeOptions options) {
  if ((options.load.rate > 0) == (options.load.concurrency > 0)) {
    return absl::InvalidArgumentError(
        "give one of --rate R (Poisson arrivals a second) and --concurrency N (clients that each wait for "
        "their answer)");
  }
  TERNION_RETURN_IF_ERROR(ParseServerUrl(options.url).status());
  if (options.api_key.find_first_of("\r\n") != std::string::npos) {
    return absl::InvalidArgumentError("--api-key holds a line break");
  }
  TERNION_ASSIGN_OR_RETURN(const GoodputLimits limits, ParseGoodput(options.goodput));
  TERNION_ASSIGN_OR_RETURN(Workload workload, Workload::Make(options.workload));
  const int64_t connections = RaiseConnectionLimit();
  if (options.load.concurrency > connections) {
    return absl::InvalidArgumentError(absl::StrCat("--concurrency ", options.load.concurrency,
                                                   ": this host allows ", connections,
                                                   " connections; lower it, or raise ulimit -n"));
  }
  options.load.seed = options.workload.seed;
  BenchPlan plan{std::move(options), limits, std::move(workload), {}, nullptr, nullptr};
  if (!plan.options.json.empty()) {
    TERNION_ASSIGN_OR_RETURN(plan.json, OutputFile::Open("--json", plan.options.json));
  }
  if (!plan.options.svg.empty()) {
    TERNION_ASSIGN_OR_RETURN(plan.svg, OutputFile::Open("--svg", plan.options.svg));
  }
  return plan;
}

// The entry of the server's list for this model; the first where the name is empty; null where there is none.
json FindModel(const std::string& body, const std::string& model) {
  const json list = json::parse(body, nullptr, /*allow_exceptions=*/false);
  if (!list.is_object() || !list.contains("data") || !list["data"].is_array()) return nullptr;
  for (const json& entry : list["data"]) {
    if (!entry.is_object() || !entry.contains("id") || !entry["id"].is_string()) continue;
    if (model.empty() || entry["id"] == model) return entry;
  }
  return nullptr;
}

// Every prompt must fit: a load of which some is refused measures something else.
absl::Status CheckContext(const Workload& workload, const json& model) {
  if (!model.contains("max_model_len") || !model["max_model_len"].is_number_integer())
    return absl::OkStatus();
  const int64_t most = model["max_model_len"].get<int64_t>();
  for (int64_t i = 0; i < workload.requests(); ++i) {
    const int64_t input = workload.input_len(i);
    if (input + workload.output_len(i) <= most) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("request ", i + 1, " has ", input, " tokens and asks for ", workload.output_len(i),
                     "; the server's ", model["id"].get<std::string>(), " takes ", most,
                     " in all: lower --input-len, --output-len, or the prompt's"));
  }
  return absl::OkStatus();
}

// Finds the server and its model before any load.
absl::Status MeetServer(BenchPlan& plan) {
  BenchServeOptions& options = plan.options;
  TERNION_ASSIGN_OR_RETURN(plan.target, ResolveTarget(options.url));
  plan.target.api_key = options.api_key;
  plan.target.timeout = std::chrono::milliseconds(static_cast<int64_t>(options.timeout * 1e3));
  TERNION_ASSIGN_OR_RETURN(const HttpAnswer answer, HttpGet(plan.target, "/v1/models"));
  if (answer.status == 401 || answer.status == 403) {
    return absl::UnauthenticatedError(absl::StrCat("--url ", options.url, ": HTTP ", answer.status, ": ",
                                                   ErrorText(answer.body),
                                                   "; give the server's key with --api-key"));
  }
  const json model = answer.status == 200 ? FindModel(answer.body, options.load.model) : json();
  if (model.is_object()) {
    options.load.model = model["id"].get<std::string>();
    return CheckContext(plan.workload, model);
  }
  if (!options.load.model.empty()) return absl::OkStatus();  // not every server lists all names that it knows
  return absl::UnavailableError(absl::StrCat("--url ", options.url, ": GET /v1/models names no model (HTTP ",
                                             answer.status, "); name one with --model"));
}

ordered_json ConfigJson(const BenchServeOptions& options) {
  const WorkloadOptions& workload = options.workload;
  char date[32];
  const std::time_t now = std::time(nullptr);
  std::strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%SZ", std::gmtime(&now));
  ordered_json out = {{"date", date},          {"ternion_version", TERNION_VERSION},
                      {"url", options.url},    {"model_id", options.load.model},
                      {"seed", workload.seed}, {"output_len", workload.output_len}};
  if (options.load.rate > 0) out["request_rate"] = options.load.rate;
  if (options.load.concurrency > 0) out["max_concurrency"] = options.load.concurrency;
  if (!workload.prompts.empty()) {
    out["prompts"] = workload.prompts;
  } else {
    out["input_len"] = workload.input_len;
    out["shared_prefix"] = workload.shared_prefix;
    out["prompt_kind"] = workload.prompt_kind;
    out["vocab"] = workload.vocab;
  }
  out["temperature"] = options.load.temperature;
  out["ignore_eos"] = options.load.ignore_eos;
  out["timeout"] = options.timeout;
  out["goodput"] = options.goodput;
  return out;
}

std::string Pace(const LoadOptions& load) {
  if (load.rate > 0) return absl::StrCat("Poisson arrivals, ", load.rate, " requests a second");
  return absl::StrCat(load.concurrency, load.concurrency == 1 ? " client" : " clients");
}

// What stands below the title of the picture.
std::vector<std::string> Subtitles(const BenchPlan& plan, const Summary& summary) {
  const WorkloadOptions& workload = plan.options.workload;
  const std::string prompts = workload.prompts.empty()
                                  ? workload.input_len + " tokens"
                                  : std::filesystem::path(workload.prompts).filename().string();
  return {absl::StrCat(Pace(plan.options.load), "; prompts: ", prompts, "; answers: ", workload.output_len,
                       " tokens"),
          absl::StrCat(summary.completed, " requests done, ", summary.failed, " failed, ", summary.refused,
                       " refused")};
}

// What a reader of the numbers should know beside them.
void PrintNotes(const Summary& summary, const LoadResult& result, int64_t requests) {
  const auto note = [](const std::string& text) { std::fprintf(stderr, "note: %s\n", text.c_str()); };
  if (result.interrupted) {
    note(absl::StrCat("stopped by a signal after ", result.records.size(), " of ", requests, " requests"));
  }
  if (summary.other_lengths > 0) {
    note(absl::StrCat(summary.other_lengths, " answers have not the number of tokens that was asked for; ",
                      "does the server know ignore_eos?"));
  }
  if (summary.counted_by_chunks > 0) {
    note(absl::StrCat("the server gave no usage for ", summary.counted_by_chunks,
                      " answers: their chunks were counted as tokens"));
  }
  if (summary.p99_send_delay > kLateSeconds) {
    note(absl::StrCat("this host is too slow for the load: 1 % of requests were sent more than ",
                      static_cast<int64_t>(summary.p99_send_delay * 1e3),
                      " ms late, which their latencies include"));
  }
  const std::vector<std::string> failures = FailureLines(result);
  for (size_t i = 0; i < std::min(failures.size(), kMostLines); ++i) note(failures[i]);
}

absl::Status WriteFiles(const BenchPlan& plan, const Summary& summary, const LoadResult& result) {
  if (plan.json != nullptr) {
    const ordered_json report = ReportJson(summary, result, plan.limits, ConfigJson(plan.options));
    const std::string text = report.dump(1, ' ', false, ordered_json::error_handler_t::replace);
    TERNION_RETURN_IF_ERROR(plan.json->Commit(text + "\n"));
  }
  if (plan.svg == nullptr) return absl::OkStatus();
  const std::string title = absl::StrCat(plan.options.load.model, " at ", plan.options.url);
  return plan.svg->Commit(LatencySvg(summary, plan.limits, title, Subtitles(plan, summary)));
}

int BenchServe(const BenchServeOptions& options) {
  absl::StatusOr<BenchPlan> plan = MakePlan(options);
  if (!plan.ok()) return Fail(plan.status(), kBadArguments);
  const absl::Status met = MeetServer(*plan);
  if (!met.ok()) return Fail(met, absl::IsInvalidArgument(met) ? kBadArguments : kFailed);
  const int64_t requests = plan->workload.requests();
  std::fprintf(stderr, "%lld requests to %s at %s: %s\n", static_cast<long long>(requests),
               plan->options.load.model.c_str(), options.url.c_str(), Pace(plan->options.load).c_str());
  ProgressLine progress("requests", true);
  const LoadResult result = RunLoad(plan->target, plan->workload, plan->options.load, [&](int64_t ended) {
    progress.Show(static_cast<double>(ended) / static_cast<double>(requests));
  });
  progress.Done();
  const Summary summary = Summarize(result, plan->limits);
  std::fputs(ReportText(summary, result, plan->options.load, plan->limits).c_str(), stdout);
  std::fflush(stdout);
  PrintNotes(summary, result, requests);
  const absl::Status written = WriteFiles(*plan, summary, result);
  if (!written.ok()) return Fail(written, kFailed);
  if (summary.completed == 0) return Fail(absl::UnavailableError("no request succeeded"), kFailed);
  return result.interrupted ? kFailed : kDone;
}

void AddServerOptions(CLI::App& command, BenchServeOptions& options) {
  command.add_option("--config", "TOML file with options of these names")->type_name("FILE");
  AddOption(command, "--url", options.url, "the server, http://HOST:PORT");
  AddOption(command, "--model", options.load.model,
            "model to ask for; default: the first that the server lists");
  AddOption(command, "--api-key", options.api_key, "key that the server wants");
  AddOption(command, "--timeout", options.timeout, "seconds without a byte after which a request has failed")
      ->check(CLI::Range(0.001, 1e6));
  AddOption(command, "--rate", options.load.rate, "open loop: requests a second, in Poisson arrivals")
      ->check(CLI::Range(1e-3, 1e6));
  AddOption(command, "--concurrency", options.load.concurrency,
            "closed loop: clients, each of which sends its next request when the last has ended")
      ->check(CLI::Range(1, 2'000'000'000));
  AddOption(command, "--temperature", options.load.temperature, "sampling temperature")
      ->check(CLI::Range(0.0, 2.0));
  command.add_flag("--ignore-eos,!--no-ignore-eos", options.load.ignore_eos,
                   "ask for answers as long as --output-len says (vLLM's ignore_eos); on unless negated");
  AddOption(command, "--goodput", options.goodput,
            "limits in ms that a request must keep to count as good: ttft:MS tpot:MS e2el:MS");
  AddOption(command, "--json", options.json,
            "write configuration, summary and every request's numbers to FILE")
      ->type_name("FILE");
  AddOption(command, "--svg", options.svg, "draw the distributions of the latencies to FILE")
      ->type_name("FILE");
}

void AddWorkloadOptions(CLI::App& command, WorkloadOptions& options) {
  AddOption(command, "--requests", options.requests,
            "requests to send; 0: each of --prompts once, or else 100")
      ->check(CLI::Range(0, 100'000'000));
  AddOption(command, "--seed", options.seed, "of arrivals, lengths and prompts");
  CLI::Option* prompts =
      AddOption(command, "--prompts", options.prompts,
                "JSONL file: {\"prompt\": text or ids, \"output_len\": N}; output_len may be absent")
          ->type_name("FILE");
  AddOption(command, "--output-len", options.output_len,
            "tokens to generate: N, uniform:A:B, normal:MEAN:STDDEV or lognormal:MEAN:STDDEV[:LONGEST]");
  const std::vector<CLI::Option*> made_up = {
      AddOption(command, "--input-len", options.input_len,
                "tokens of a made-up prompt, written like --output-len"),
      AddOption(command, "--shared-prefix", options.shared_prefix,
                "tokens at the beginning of a made-up prompt that all have in common, or their share: 50%"),
      AddOption(command, "--prompt-kind", options.prompt_kind,
                "made-up prompts are random ids, or text, whose lengths count words")
          ->check(CLI::IsMember({"ids", "text"})),
      AddOption(command, "--vocab", options.vocab, "made-up ids are below this number")};
  for (CLI::Option* option : made_up) prompts->excludes(option);
}

}  // namespace

void AddBenchServe(CLI::App& bench, Command& chosen) {
  CLI::App* command =
      bench.add_subcommand("serve", "load on any OpenAI-compatible server: throughput, latencies, goodput");
  command->footer(
      "Start it as it is, without mpirun: ternion bench serve --url http://HOST:8000 --rate 8 --requests "
      "500\n"
      "The table is that of vLLM's serving benchmark. Latencies count from when a request was due and "
      "include\n"
      "connecting; each request has a connection of its own.\n"
      "TTFT   until the first token\n"
      "TPOT   a token after the first, averaged over one answer\n"
      "ITL    between two chunks of a stream\n"
      "E2EL   until the last token\n"
      "Refused requests (HTTP 429) and failed ones count in no latency and no throughput.");
  auto options = std::make_shared<BenchServeOptions>();
  AddServerOptions(*command, *options);
  AddWorkloadOptions(*command, options->workload);
  command->callback([options, &chosen] { chosen.run_alone = [options] { return BenchServe(*options); }; });
}

}  // namespace ternion
