#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "launcher/options.h"
#include "runtime/serving/request.h"

namespace ternion {

struct GenerateOptions {
  JobOptions job;
  std::string prompt;
  std::string prompt_file;
  std::string ids;
  int64_t max_tokens = 128;
  SamplingParams sampling;
  std::string logit_bias;
  int64_t min_tokens = 0;
  bool ignore_eos = false;
  std::vector<std::string> stop;
  std::string stop_token_ids;
  int32_t logprobs = -1;
  std::string json_schema;
  bool json_object = false;
  bool json = false;
};

void AddGenerateOptions(CLI::App& command, GenerateOptions& options);

// The ids of a list "1,2,3"; `option` names it in errors.
absl::StatusOr<std::vector<int32_t>> ParseIds(std::string_view option, const std::string& text);

// What the options ask of the engine, without the prompt. kInvalidArgument names the option.
absl::StatusOr<GenerateRequest> RequestOf(const GenerateOptions& options);

}  // namespace ternion
