#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "kernels/status.h"
#include "launcher/commands.h"
#include "launcher/host.h"
#include "launcher/job.h"
#include "launcher/model.h"
#include "launcher/options.h"
#include "runtime/checkpoint/safetensors.h"
#include "runtime/text/tokenizer.h"

namespace ternion {
namespace {

struct PerplexityOptions {
  JobOptions job;
  std::string text;
  std::string tokens;
  int64_t window = 1024;
  int64_t most_windows = 0;  // 0: all
  bool json = false;
};

// A window of n inputs and the n ids that follow them.
struct Window {
  std::vector<int32_t> inputs;
  std::vector<int32_t> targets;
};

Window MakeWindow(const int32_t* ids, int64_t n) { return {{ids, ids + n}, {ids + 1, ids + n + 1}}; }

// FILE.safetensors:TENSOR. A tensor [windows, n + 1] gives a window a row; [ids] is cut like a text.
absl::StatusOr<std::vector<std::vector<int32_t>>> ReadTokenRows(const std::string& spec) {
  const size_t colon = spec.rfind(':');
  if (colon == std::string::npos) {
    return absl::InvalidArgumentError(absl::StrCat("--tokens ", spec, ": write FILE.safetensors:TENSOR"));
  }
  TERNION_ASSIGN_OR_RETURN(const auto file, SafetensorsFile::Open(spec.substr(0, colon)));
  const FileTensor* tensor = file->Find(spec.substr(colon + 1));
  if (tensor == nullptr) {
    return absl::NotFoundError(absl::StrCat("--tokens ", spec, ": the file has no such tensor"));
  }
  const bool matrix = tensor->shape.size() == 2;
  if (tensor->dtype != DType::kI32 || (!matrix && tensor->shape.size() != 1)) {
    return absl::InvalidArgumentError(absl::StrCat("--tokens ", spec, " is ", tensor->Form(),
                                                   "; it must be I32 [windows, n + 1] or [ids]"));
  }
  const int64_t columns = tensor->shape.back();
  std::vector<std::vector<int32_t>> rows(matrix ? tensor->shape[0] : 1, std::vector<int32_t>(columns));
  for (size_t i = 0; i < rows.size(); ++i) {
    std::memcpy(rows[i].data(), tensor->data.data() + i * columns * 4, columns * 4);
  }
  return rows;
}

absl::StatusOr<std::vector<int32_t>> ReadText(const PerplexityOptions& options) {
  std::ifstream file(options.text, std::ios::binary);
  if (!file) return absl::NotFoundError(absl::StrCat("--text ", options.text, ": cannot be read"));
  if (options.job.model.empty()) {
    return absl::InvalidArgumentError("a synthetic model has no tokenizer; use --tokens");
  }
  TERNION_ASSIGN_OR_RETURN(const auto tokenizer, OpenTokenizer(options.job.model));
  return tokenizer->Encode(std::string(std::istreambuf_iterator<char>(file), {}), /*add_special=*/true);
}

absl::StatusOr<std::vector<Window>> CutText(const std::vector<int32_t>& ids, int64_t n) {
  std::vector<Window> windows;
  const auto count = static_cast<int64_t>(ids.size());
  int64_t begin = 0;
  for (; begin + n < count; begin += n) windows.push_back(MakeWindow(ids.data() + begin, n));
  if (windows.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("the text has ", count, " tokens; a window of ", n, " needs ", n + 1));
  }
  if (count - begin > 1) {
    std::fprintf(stderr, "the last %lld tokens are shorter than a window and are left out\n",
                 static_cast<long long>(count - begin - 1));
  }
  return windows;
}

absl::StatusOr<std::vector<Window>> ReadWindows(const PerplexityOptions& options) {
  if (options.text.empty() == options.tokens.empty()) {
    return absl::InvalidArgumentError("give one of --text FILE and --tokens FILE.safetensors:TENSOR");
  }
  if (!options.text.empty()) {
    TERNION_ASSIGN_OR_RETURN(const std::vector<int32_t> ids, ReadText(options));
    return CutText(ids, options.window);
  }
  TERNION_ASSIGN_OR_RETURN(const auto rows, ReadTokenRows(options.tokens));
  if (rows.size() == 1) return CutText(rows[0], options.window);
  std::vector<Window> windows;
  for (const auto& row : rows) {
    if (row.size() < 2) return absl::InvalidArgumentError("--tokens: a window needs two ids at least");
    windows.push_back(MakeWindow(row.data(), static_cast<int64_t>(row.size()) - 1));
  }
  return windows;
}

// Scores all windows as requests of their own.
class Scoring {
 public:
  explicit Scoring(const PerplexityOptions& options) : options_(options), progress_("perplexity", true) {}

  absl::Status Prepare() {
    TERNION_ASSIGN_OR_RETURN(windows_, ReadWindows(options_));
    if (options_.most_windows > 0 && options_.most_windows < static_cast<int64_t>(windows_.size())) {
      windows_.resize(options_.most_windows);
    }
    means_.resize(windows_.size());
    return absl::OkStatus();
  }

  absl::Status Start(Coordinator& coordinator) {
    for (size_t i = 0; i < windows_.size(); ++i) {
      GenerateRequest request;
      const auto count = static_cast<double>(windows_[i].inputs.size());
      tokens_ += static_cast<int64_t>(windows_[i].inputs.size());
      request.prompt = std::move(windows_[i].inputs);
      request.score_targets = std::move(windows_[i].targets);
      const auto sink = [this, i, count](const TokenEvent& event) {
        if (!event.status.ok()) return;
        means_[i] = event.negative_log_likelihood / count;
        progress_.Show(static_cast<double>(++done_) / static_cast<double>(means_.size()));
      };
      TERNION_RETURN_IF_ERROR(coordinator.Submit(std::move(request), sink).status());
    }
    coordinator.Drain();
    return absl::OkStatus();
  }

  void Report(const WireTotals& wire) {
    progress_.Done();
    double mean = 0;
    for (double one : means_) mean += one;
    const double perplexity = std::exp(mean / static_cast<double>(means_.size()));
    if (!options_.json) {
      std::printf(
          "perplexity %.6f over %zu windows, %lld tokens; wire bytes: reduce %lld, gather %lld, pipeline "
          "%lld\n",
          perplexity, means_.size(), static_cast<long long>(tokens_), static_cast<long long>(wire.reduce),
          static_cast<long long>(wire.gather), static_cast<long long>(wire.pipeline));
      return;
    }
    nlohmann::ordered_json out;
    out["perplexity"] = perplexity;
    out["windows"] = means_.size();
    out["tokens"] = tokens_;
    out["wire_bytes"] = {{"reduce", wire.reduce}, {"gather", wire.gather}, {"pipeline", wire.pipeline}};
    std::printf("%s\n", out.dump().c_str());
  }

 private:
  const PerplexityOptions& options_;
  ProgressLine progress_;
  std::vector<Window> windows_;
  std::vector<double> means_;  // mean negative log-likelihood of each window
  int64_t tokens_ = 0;
  int64_t done_ = 0;
};

int Perplexity(MpiSession& mpi, PerplexityOptions& options) {
  StartLogging(options.job, mpi.rank());
  // All windows wait at once.
  options.job.max_queue = INT64_MAX;
  Scoring scoring(options);
  Job::Body body;
  body.before_load = [&](const Job::Plan&) { return scoring.Prepare(); };
  body.start = [&](Coordinator& coordinator) { return scoring.Start(coordinator); };
  body.report = [&](const WireTotals& totals) { scoring.Report(totals); };
  return Job::Run(mpi, options.job, body);
}

}  // namespace

void AddPerplexity(CLI::App& app, Command& chosen) {
  CLI::App* command = app.add_subcommand("perplexity", "quality of a model, or of a wire or KV format");
  auto options = std::make_shared<PerplexityOptions>();
  AddJobOptions(*command, options->job);
  AddOption(*command, "--text", options->text, "a UTF-8 text file");
  AddOption(*command, "--tokens", options->tokens, "FILE.safetensors:TENSOR, I32 [windows, n + 1] or [ids]");
  AddOption(*command, "--window", options->window, "tokens of a window that a text is cut into")
      ->check(CLI::PositiveNumber);
  AddOption(*command, "--windows", options->most_windows, "only the first so many windows; 0: all")
      ->check(CLI::NonNegativeNumber);
  command->add_flag("--json", options->json, "print one JSON object");
  command->callback(
      [options, &chosen] { chosen.run = [options](MpiSession& mpi) { return Perplexity(mpi, *options); }; });
}

}  // namespace ternion
