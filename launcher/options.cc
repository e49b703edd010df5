#include "launcher/options.h"

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <stdlib.h>

#include <toml++/toml.h>
#include <algorithm>
#include <cctype>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <string_view>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "runtime/checkpoint/converted.h"

namespace ternion {
namespace {

// The value of --config in argv, or empty.
std::string ConfigFile(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument == "--config" && i + 1 < argc) return argv[i + 1];
    if (argument.substr(0, 9) == "--config=") return std::string(argument.substr(9));
  }
  const char* environment = getenv("TERNION_CONFIG");
  return environment == nullptr ? "" : environment;
}

std::set<std::string> KnownKeys(const CLI::App& app) {
  std::set<std::string> keys;
  for (const CLI::App* command : app.get_subcommands({})) {
    for (const CLI::Option* option : command->get_options()) {
      for (const std::string& name : option->get_lnames()) keys.insert(name);
    }
    keys.merge(KnownKeys(*command));
  }
  return keys;
}

absl::StatusOr<std::string> ScalarText(const toml::node& value) {
  if (const auto* text = value.as_string()) return text->get();
  std::ostringstream text;
  if (const auto* number = value.as_integer()) text << number->get();
  if (const auto* number = value.as_floating_point()) text << number->get();
  if (const auto* flag = value.as_boolean()) text << (flag->get() ? "true" : "false");
  if (text.str().empty()) return absl::InvalidArgumentError("needs a string, a number or a boolean");
  return text.str();
}

// The message as a JSON string, quotes included.
class JsonMessage final : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& message, const std::tm&, spdlog::memory_buf_t& out) override {
    const std::string text(message.payload.data(), message.payload.size());
    const std::string quoted =
        nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    out.append(quoted.data(), quoted.data() + quoted.size());
  }
  std::unique_ptr<custom_flag_formatter> clone() const override { return std::make_unique<JsonMessage>(); }
};

// A folder that cannot be read is told of when the model is opened.
void TakeConvertedGrid(bool tp_given, bool pp_given, JobOptions& options) {
  if (!options.synthetic.empty() || !IsConverted(options.model)) return;
  const absl::StatusOr<ConvertedManifest> manifest = ReadFolderManifest(options.model);
  if (!manifest.ok()) return;
  if (!tp_given) options.tp = manifest->tp;
  if (!pp_given) options.pp = manifest->pp;
}

}  // namespace

std::string JobOptions::ModelName() const {
  if (!served_model_name.empty()) return served_model_name;
  std::filesystem::path path = synthetic.empty() ? model : synthetic;
  path = std::filesystem::absolute(path).lexically_normal();
  if (path.filename().empty()) path = path.parent_path();
  const bool is_file = !synthetic.empty() || path.extension() == ".gguf";
  return is_file ? path.stem().string() : path.filename().string();
}

void AddJobOptions(CLI::App& command, JobOptions& options) {
  command.add_option("MODEL", options.model,
                     "folder with config.json, *.safetensors and tokenizer.json (or tokenizer.model), a "
                     ".gguf file, or a folder "
                     "that ternion convert has made");
  command.add_option("--config", "TOML file with options of these names")->type_name("FILE");
  AddOption(command, "--synthetic", options.synthetic, "random weights of the shape this config.json gives");
  const CLI::Option* tp = AddOption(command, "--tp,--tensor-parallel-size", options.tp,
                                    "tensor-parallel ranks; default of a converted folder: its own")
                              ->check(CLI::PositiveNumber);
  const CLI::Option* pp = AddOption(command, "--pp,--pipeline-parallel-size", options.pp,
                                    "pipeline stages; default of a converted folder: its own")
                              ->check(CLI::PositiveNumber);
  command.parse_complete_callback(
      [tp, pp, &options] { TakeConvertedGrid(tp->count() > 0, pp->count() > 0, options); });
  AddOption(command, "--device", options.device, "auto, cpu, or cuda: a GPU for each rank")
      ->check(CLI::IsMember({"auto", "cpu", "cuda"}));
  AddOption(command, "--threads", options.threads, "CPU threads of a rank; 0: the cores it may use")
      ->check(CLI::NonNegativeNumber);
  AddOption(command, "--wire", options.wire, "row-parallel sums on the wire: exact, int8 or int4");
  AddOption(command, "--pipeline-wire", options.pipeline_wire, "stage boundaries: exact, int8 or int4");
  AddOption(command, "--scales", options.scales, "activation scales of row-parallel inputs: row")
      ->check(CLI::IsMember({"row"}));
  AddOption(command, "--kv-cache", options.kv_cache,
            "KV cache format: f32 (CPU), f16, int8, int4, int3, int4-g32 or int3-g32");
  AddOption(command, "--query-bits", options.query_bits, "bits of attention's queries: 4, or 0: not rounded")
      ->check(CLI::IsMember({0, 4}));
  AddOption(command, "--served-model-name", options.served_model_name,
            "name for clients; default: the folder's");
  AddOption(command, "--max-model-len", options.max_model_len, "tokens of a sequence; 0: the model's")
      ->check(CLI::NonNegativeNumber);
  AddOption(command, "--kv-memory", options.kv_memory, "bytes of KV cache on a rank (8GiB), or auto");
  AddOption(command, "--max-batch-tokens", options.max_batch_tokens, "tokens of a step")
      ->check(CLI::PositiveNumber);
  AddOption(command, "--max-sequences", options.max_sequences, "sequences that run at once")
      ->check(CLI::PositiveNumber);
  AddOption(command, "--max-queue", options.max_queue, "requests that may wait")->check(CLI::PositiveNumber);
  AddOption(command, "--rank-timeout", options.rank_timeout,
            "seconds after the loss of a rank within which the job has ended")
      ->check(CLI::Range(1.0, 3600.0));
  AddOption(command, "--log-level", options.log_level, "debug, info, warning or error")
      ->check(CLI::IsMember({"debug", "info", "warning", "error"}));
  AddOption(command, "--log-format", options.log_format, "text or json")
      ->check(CLI::IsMember({"text", "json"}));
}

void AddTraceOption(CLI::App& command, JobOptions& options) {
  AddOption(command, "--trace", options.trace,
            "at the end write what every rank did, and when, to FILE: Chrome's trace format, for Perfetto")
      ->type_name("FILE");
}

std::string EnvironmentName(const std::string& long_option) {
  std::string name = "TERNION_" + long_option;
  std::transform(name.begin(), name.end(), name.begin(),
                 [](unsigned char c) { return c == '-' ? '_' : static_cast<char>(std::toupper(c)); });
  return name;
}

CLI::Option* AddFlag(CLI::App& command, const std::string& names, bool& value, const std::string& help) {
  CLI::Option* flag = command.add_flag(names, value, help);
  flag->envname(EnvironmentName(flag->get_lnames().front()));
  return flag;
}

absl::Status LoadConfigFile(int argc, char** argv, const CLI::App& app) {
  const std::string file = ConfigFile(argc, argv);
  if (file.empty()) return absl::OkStatus();
  if (!std::filesystem::is_regular_file(file)) {
    return absl::InvalidArgumentError(absl::StrCat("--config ", file, ": there is no such file"));
  }
  toml::table table;
  try {
    table = toml::parse_file(file);
  } catch (const toml::parse_error& error) {
    return absl::InvalidArgumentError(absl::StrCat("--config ", file, ":", error.source().begin.line, ": ",
                                                   std::string(error.description())));
  }
  const std::set<std::string> known = KnownKeys(app);
  for (const auto& [key, value] : table) {
    const std::string name(key.str());
    if (known.count(name) == 0) {
      return absl::InvalidArgumentError(absl::StrCat("--config ", file, ": no option is named ", name));
    }
    const absl::StatusOr<std::string> text = ScalarText(value);
    if (!text.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat("--config ", file, ": ", name, " ", text.status().message()));
    }
    setenv(EnvironmentName(name).c_str(), text->c_str(), /*overwrite=*/0);
  }
  return absl::OkStatus();
}

absl::StatusOr<int64_t> ParseBytes(const std::string& text) {
  const size_t digits = std::min(text.find_first_not_of("0123456789."), text.size());
  const std::string unit = text.substr(digits);
  double value = 0;
  double factor = 0;
  if (unit.empty() || unit == "B") factor = 1;
  constexpr std::string_view kPrefixes = "KMGT";
  const size_t prefix = unit.empty() ? std::string_view::npos : kPrefixes.find(unit[0]);
  if (prefix != std::string_view::npos) {
    const bool binary = unit.substr(1) == "iB";
    if (binary || unit.substr(1) == "B" || unit.size() == 1) {
      factor = 1;
      for (size_t i = 0; i <= prefix; ++i) factor *= binary ? 1024 : 1000;
    }
  }
  if (factor == 0 || !absl::SimpleAtod(text.substr(0, digits), &value) || value * factor > 9e18) {
    return absl::InvalidArgumentError(
        absl::StrCat(text, " is no number of bytes; write 8589934592, 8GB or 8GiB"));
  }
  return static_cast<int64_t>(value * factor);
}

void StartLogging(const JobOptions& options, int rank) {
  auto logger = spdlog::stderr_logger_mt("ternion");
  logger->set_level(spdlog::level::from_str(options.log_level));
  if (options.log_format == "json") {
    auto formatter = std::make_unique<spdlog::pattern_formatter>();
    formatter->add_flag<JsonMessage>('*');
    formatter->set_pattern(
        absl::StrCat(R"({"time":"%Y-%m-%dT%H:%M:%S.%e%z","level":"%l","rank":)", rank, R"(,"message":%*})"));
    logger->set_formatter(std::move(formatter));
  } else {
    logger->set_pattern(absl::StrCat("%H:%M:%S.%e ", rank, " %L %v"));
  }
  spdlog::set_default_logger(std::move(logger));
}

}  // namespace ternion
