#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "kernels/status.h"
#include "launcher/commands.h"
#include "launcher/job.h"
#include "launcher/model.h"
#include "launcher/options.h"
#include "runtime/text/completion_text.h"
#include "runtime/text/tokenizer.h"

namespace ternion {
namespace {

using Clock = std::chrono::steady_clock;

struct GenerateOptions {
  JobOptions job;
  std::string prompt;
  std::string prompt_file;
  std::string ids;
  int64_t max_tokens = 128;
  SamplingParams sampling;
  bool ignore_eos = false;
  std::vector<std::string> stop;
  bool json = false;
};

absl::StatusOr<std::vector<int32_t>> ParseIds(const std::string& text) {
  std::vector<int32_t> ids;
  for (absl::string_view field : absl::StrSplit(text, ',')) {
    int32_t id = 0;
    if (!absl::SimpleAtoi(field, &id)) {
      return absl::InvalidArgumentError(absl::StrCat("--ids: '", field, "' is no token id; write 1,2,3"));
    }
    ids.push_back(id);
  }
  return ids;
}

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return absl::NotFoundError(absl::StrCat("--prompt-file ", path, ": cannot be read"));
  return std::string(std::istreambuf_iterator<char>(file), {});
}

double Seconds(Clock::duration duration) { return std::chrono::duration<double>(duration).count(); }

// One request on rank 0: submits it, prints what comes, and keeps what --json shows at the end.
class Generation {
 public:
  explicit Generation(const GenerateOptions& options) : options_(options) {}

  // Before weights load: what is wrong with the options or the tokenizer.
  absl::Status Prepare() {
    const int sources = !options_.prompt.empty() + !options_.prompt_file.empty() + !options_.ids.empty();
    if (sources != 1) return absl::InvalidArgumentError("give one of --prompt, --prompt-file and --ids");
    if (!options_.job.model.empty()) {
      TERNION_ASSIGN_OR_RETURN(tokenizer_, OpenTokenizer(options_.job.model));
      text_ = std::make_unique<CompletionText>(*tokenizer_, options_.stop);
    }
    TERNION_ASSIGN_OR_RETURN(prompt_ids_, PromptIds());
    return absl::OkStatus();
  }

  absl::Status Start(Coordinator& coordinator) {
    GenerateRequest request;
    request.prompt = prompt_ids_;
    request.max_tokens = options_.max_tokens;
    request.sampling = options_.sampling;
    request.ignore_eos = options_.ignore_eos;
    request.hash_logits = options_.json;
    coordinator_ = &coordinator;
    started_ = Clock::now();
    const auto sink = [this](const TokenEvent& event) { Take(event); };
    TERNION_ASSIGN_OR_RETURN(id_, coordinator.Submit(std::move(request), sink));
    coordinator.Drain();
    return absl::OkStatus();
  }

  absl::Status Finish(const absl::Status& run) {
    TERNION_RETURN_IF_ERROR(run);
    TERNION_RETURN_IF_ERROR(request_status_);
    if (text_ != nullptr) Show(text_->Finish());
    options_.json ? PrintJson() : PrintTimings();
    return absl::OkStatus();
  }

 private:
  absl::StatusOr<std::vector<int32_t>> PromptIds() {
    if (!options_.ids.empty()) return ParseIds(options_.ids);
    if (tokenizer_ == nullptr)
      return absl::InvalidArgumentError("a synthetic model has no tokenizer; use --ids");
    std::string prompt = options_.prompt;
    if (!options_.prompt_file.empty()) {
      TERNION_ASSIGN_OR_RETURN(prompt, ReadFile(options_.prompt_file));
    }
    return tokenizer_->Encode(prompt, /*add_special=*/true);
  }

  void Take(const TokenEvent& event) {
    request_status_ = event.status;
    if (!event.status.ok() || stopped_) return;
    if (event.token >= 0) {
      if (ids_.empty()) first_token_ = Clock::now();
      last_token_ = Clock::now();
      ids_.push_back(event.token);
      logits_hash_ = event.logits_hash;
      if (text_ != nullptr) Show(text_->Push(event.token));
    }
    if (event.finish) finish_ = FinishReasonName(*event.finish);
    if (text_ == nullptr || !text_->stopped()) return;
    stopped_ = true;
    finish_ = FinishReasonName(FinishReason::kStop);
    if (!event.finish) coordinator_->Cancel(id_);
  }

  void Show(const std::string& text) {
    shown_ += text;
    if (options_.json) return;
    std::fwrite(text.data(), 1, text.size(), stdout);
    std::fflush(stdout);
  }

  void PrintTimings() const {
    if (text_ == nullptr) {
      for (int32_t id : ids_) std::printf("%d ", id);
    }
    std::printf("\n");
    const double decode = Seconds(last_token_ - first_token_);
    std::fprintf(stderr,
                 "%zu prompt tokens, first token after %.3f s; %zu tokens, %.1f tokens/s; finish: %s\n",
                 prompt_ids_.size(), Seconds(first_token_ - started_), ids_.size(),
                 decode > 0 ? static_cast<double>(ids_.size() - 1) / decode : 0.0, finish_.c_str());
  }

  void PrintJson() const {
    nlohmann::ordered_json out;
    out["ids"] = ids_;
    out["prompt_ids"] = prompt_ids_;
    out["text"] = shown_;
    out["finish_reason"] = finish_;
    out["logits_hash"] = absl::StrFormat("%016x", logits_hash_);
    out["timings"] = {{"first_token_seconds", Seconds(first_token_ - started_)},
                      {"decode_seconds", Seconds(last_token_ - first_token_)}};
    std::printf("%s\n", out.dump().c_str());
  }

  const GenerateOptions& options_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::unique_ptr<CompletionText> text_;
  std::vector<int32_t> prompt_ids_;
  Coordinator* coordinator_ = nullptr;
  uint64_t id_ = 0;
  std::vector<int32_t> ids_;
  std::string shown_;
  std::string finish_;
  uint64_t logits_hash_ = 0;
  bool stopped_ = false;
  absl::Status request_status_;
  Clock::time_point started_;
  Clock::time_point first_token_;
  Clock::time_point last_token_;
};

int Generate(MpiSession& mpi, GenerateOptions& options) {
  StartLogging(options.job, mpi.rank());
  Generation generation(options);
  Job::Body body;
  body.before_load = [&](const Job::Plan&) { return generation.Prepare(); };
  body.start = [&](Coordinator& coordinator) { return generation.Start(coordinator); };
  body.finish = [&](const absl::Status& run) { return generation.Finish(run); };
  return Job::Run(mpi, options.job, body);
}

}  // namespace

void AddGenerate(CLI::App& app, Command& chosen) {
  CLI::App* command = app.add_subcommand("generate", "one prompt, streamed to the terminal");
  auto options = std::make_shared<GenerateOptions>();
  AddJobOptions(*command, options->job);
  AddOption(*command, "-p,--prompt", options->prompt, "the prompt");
  AddOption(*command, "--prompt-file", options->prompt_file, "a file that holds the prompt");
  AddOption(*command, "--ids", options->ids, "the prompt as token ids: 1,2,3");
  AddOption(*command, "--max-tokens", options->max_tokens, "most tokens to generate")
      ->check(CLI::PositiveNumber);
  AddOption(*command, "--temperature", options->sampling.temperature, "0: always the likeliest token")
      ->check(CLI::NonNegativeNumber);
  AddOption(*command, "--top-k", options->sampling.top_k, "draw from the k likeliest; 0: from all")
      ->check(CLI::NonNegativeNumber);
  AddOption(*command, "--top-p", options->sampling.top_p, "draw from the likeliest that make up this share")
      ->check(CLI::Range(1e-6, 1.0));
  AddOption(*command, "--seed", options->sampling.seed, "of the random draws");
  command->add_flag("--ignore-eos", options->ignore_eos, "go on after an end-of-sequence token");
  command->add_option("--stop", options->stop, "text that ends the generation; may be given several times");
  command->add_flag("--json", options->json, "print one JSON object at the end");
  command->callback(
      [options, &chosen] { chosen.run = [options](MpiSession& mpi) { return Generate(mpi, *options); }; });
}

}  // namespace ternion
