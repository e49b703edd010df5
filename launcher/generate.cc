#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "kernels/status.h"
#include "launcher/commands.h"
#include "launcher/generate_options.h"
#include "launcher/job.h"
#include "launcher/model.h"
#include "runtime/checkpoint/json.h"
#include "runtime/constraint/constraints.h"
#include "runtime/text/completion_text.h"
#include "runtime/text/tokenizer.h"

namespace ternion {
namespace {

using Clock = std::chrono::steady_clock;

absl::StatusOr<std::string> ReadFile(const char* option, const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string text(std::istreambuf_iterator<char>(file), {});
  if (!file.is_open() || file.bad())
    return absl::NotFoundError(absl::StrCat(option, " ", path, ": cannot be read"));
  return text;
}

absl::StatusOr<nlohmann::ordered_json> ReadSchema(const std::string& path) {
  TERNION_ASSIGN_OR_RETURN(const std::string text, ReadFile("--json-schema", path));
  // Says what is wrong with it; the order of members counts.
  TERNION_RETURN_IF_ERROR(
      ParseJson(text, absl::StrCat("--json-schema ", path), absl::StatusCode::kInvalidArgument).status());
  return nlohmann::ordered_json::parse(text);
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
    TERNION_ASSIGN_OR_RETURN(request_, RequestOf(options_));
    TERNION_ASSIGN_OR_RETURN(prompt_ids_, PromptIds());
    return Constrain();
  }

  absl::Status Start(Coordinator& coordinator) {
    request_.prompt = prompt_ids_;
    coordinator_ = &coordinator;
    started_ = Clock::now();
    const auto sink = [this](const TokenEvent& event) { Take(event); };
    TERNION_ASSIGN_OR_RETURN(id_, coordinator.Submit(request_, sink));
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
    if (!options_.ids.empty()) return ParseIds("--ids", options_.ids);
    if (tokenizer_ == nullptr)
      return absl::InvalidArgumentError("a synthetic model has no tokenizer; use --ids");
    std::string prompt = options_.prompt;
    if (!options_.prompt_file.empty()) {
      TERNION_ASSIGN_OR_RETURN(prompt, ReadFile("--prompt-file", options_.prompt_file));
    }
    return tokenizer_->Encode(prompt, /*add_special=*/true);
  }

  absl::Status Constrain() {
    std::optional<nlohmann::ordered_json> schema;
    if (options_.json_object) schema = nlohmann::ordered_json::object({{"type", "object"}});
    if (!options_.json_schema.empty()) {
      TERNION_ASSIGN_OR_RETURN(schema, ReadSchema(options_.json_schema));
    }
    if (!schema.has_value()) return absl::OkStatus();
    if (tokenizer_ == nullptr) {
      return absl::InvalidArgumentError(
          "a synthetic model has no tokenizer, so its text cannot be constrained");
    }
    constraints_ = std::make_unique<Constraints>(*tokenizer_);
    std::string where;
    auto constraint = constraints_->OfSchema(*schema, &where);
    if (!constraint.ok()) {
      return absl::InvalidArgumentError(absl::StrCat("--json-schema ", options_.json_schema, ": ", where,
                                                     where.empty() ? "" : ": ",
                                                     constraint.status().message()));
    }
    request_.constraint = *std::move(constraint);
    return absl::OkStatus();
  }

  void Take(const TokenEvent& event) {
    request_status_ = event.status;
    if (!event.status.ok() || stopped_) return;
    if (event.token >= 0) {
      if (ids_.empty()) first_token_ = Clock::now();
      last_token_ = Clock::now();
      ids_.push_back(event.token);
      logits_hash_ = event.logits_hash;
      if (event.logprobs.has_value()) logprobs_.push_back(*event.logprobs);
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
    if (options_.logprobs >= 0) out["logprobs"] = LogprobsJson();
    out["timings"] = {{"first_token_seconds", Seconds(first_token_ - started_)},
                      {"decode_seconds", Seconds(last_token_ - first_token_)}};
    std::printf("%s\n", out.dump().c_str());
  }

  // Of each generated token {"logprob", "top": [[id, logprob], ...]}.
  nlohmann::ordered_json LogprobsJson() const {
    nlohmann::ordered_json list = nlohmann::ordered_json::array();
    for (const TokenLogprobs& token : logprobs_)
      list.push_back({{"logprob", token.logprob}, {"top", token.top}});
    return list;
  }

  const GenerateOptions& options_;
  GenerateRequest request_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::unique_ptr<CompletionText> text_;
  std::unique_ptr<Constraints> constraints_;
  std::vector<int32_t> prompt_ids_;
  Coordinator* coordinator_ = nullptr;
  uint64_t id_ = 0;
  std::vector<int32_t> ids_;
  std::vector<TokenLogprobs> logprobs_;
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
  AddGenerateOptions(*command, *options);
  command->callback(
      [options, &chosen] { chosen.run = [options](MpiSession& mpi) { return Generate(mpi, *options); }; });
}

}  // namespace ternion
