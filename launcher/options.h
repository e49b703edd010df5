#pragma once

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "launcher/exit_code.h"

namespace ternion {

// Options are in seconds.
inline std::chrono::milliseconds Milliseconds(double seconds) {
  return std::chrono::milliseconds(static_cast<int64_t>(seconds * 1000));
}

// The options that every command which runs a model has. Names are the long options'.
struct JobOptions {
  std::string model;      // a folder or a .gguf file; empty with --synthetic
  std::string synthetic;  // a config.json whose weights are made up
  int tp = 1;
  int pp = 1;
  // Steps in flight; 0: as many as stages. For measurements: no option of every command.
  int micro_batches = 0;
  // Options of serve; bench steps computes every prompt.
  bool no_prefix_caching = false;
  double max_queue_time = 0;  // seconds; 0: none
  std::string device = "auto";
  int threads = 0;  // 0: the cores this rank may use
  std::string wire = "exact";
  std::string pipeline_wire = "exact";
  std::string scales = "row";
  std::string kv_cache = "f16";
  int query_bits = 0;
  std::string served_model_name;
  int64_t max_model_len = 0;  // 0: the model's
  std::string kv_memory = "auto";
  int64_t max_batch_tokens = 512;
  int64_t max_sequences = 64;
  int64_t max_queue = 1024;
  double rank_timeout = 10;     // seconds from the loss of a rank to the end of all others
  double lost_rank_linger = 0;  // seconds of these for telling clients. An option of serve
  std::string trace;            // a file; empty: none. No option of every command
  std::string log_level = "info";
  std::string log_format = "text";

  // The name of the folder, or of the file without its extension, unless --served-model-name says otherwise.
  std::string ModelName() const;
};

// Adds the options to a command, each with its environment variable TERNION_*.
void AddJobOptions(CLI::App& command, JobOptions& options);

// Adds --trace to a command that runs steps.
void AddTraceOption(CLI::App& command, JobOptions& options);

// The environment variable of a long option: --max-model-len -> TERNION_MAX_MODEL_LEN.
std::string EnvironmentName(const std::string& long_option);

// Adds an option with its environment variable. `names` as CLI11 has them, the long name last: "-p,--prompt".
template <typename T>
CLI::Option* AddOption(CLI::App& command, const std::string& names, T& value, const std::string& help) {
  CLI::Option* option = command.add_option(names, value, help)->capture_default_str();
  option->envname(EnvironmentName(option->get_lnames().front()));
  return option;
}

// The same for a flag.
CLI::Option* AddFlag(CLI::App& command, const std::string& names, bool& value, const std::string& help);

// Takes the keys of the TOML file that `--config` names in argv as if they were environment variables, where those are
// not set: so a flag comes before the environment, and the environment before the file. kInvalidArgument names the
// file and the key or line that is wrong.
absl::Status LoadConfigFile(int argc, char** argv, const CLI::App& app);

// "1048576", "512MiB", "8GB" -> bytes.
absl::StatusOr<int64_t> ParseBytes(const std::string& text);

// Sets spdlog's level and format; everything goes to stderr.
void StartLogging(const JobOptions& options, int rank);

}  // namespace ternion
