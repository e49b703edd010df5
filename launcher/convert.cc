// The command `convert`: any model that can be read -> a folder with one file a rank, packed and checked.
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "kernels/cpu/check_isa.h"
#include "kernels/status.h"
#include "launcher/commands.h"
#include "launcher/convert_files.h"
#include "launcher/host.h"
#include "launcher/model.h"
#include "launcher/options.h"
#include "runtime/checkpoint/converted.h"

namespace ternion {
namespace {

struct ConvertCommand {
  std::vector<std::string> paths;
  std::string synthetic;
  std::string name;  // of the model; empty: the source's
  int tp = 1;
  int pp = 1;
  int threads = 0;
  std::string packing = "cpu";
  bool verify = false;
};

int Fail(const absl::Status& status, int exit_code) {
  std::fprintf(stderr, "ternion: %s\n", std::string(status.message()).c_str());
  return exit_code;
}

// What is wrong with a model, or else with the machine it is converted on.
int ExitCodeOf(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kDataLoss:
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kUnimplemented:
      return kBadModel;
    default:
      return kFailed;
  }
}

// Without a slash at the end, which would make its name empty.
std::filesystem::path FolderPath(const std::string& text) {
  const std::filesystem::path path = std::filesystem::path(text).lexically_normal();
  return path.has_filename() ? path : path.parent_path();
}

absl::Status CheckPaths(const ConvertCommand& command) {
  const size_t wanted = command.verify || !command.synthetic.empty() ? 1 : 2;
  if (command.paths.size() == wanted && !(command.verify && !command.synthetic.empty())) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      "write ternion convert SRC DST, ternion convert --synthetic CONFIG DST, or ternion convert --verify "
      "DST");
}

int Verify(const std::string& folder) {
  ProgressLine progress("checking", true);
  const absl::Status verified = VerifyConverted(folder, [&](double done) { progress.Show(done); });
  progress.Done();
  if (!verified.ok()) return Fail(verified, ExitCodeOf(verified));
  const absl::StatusOr<ConvertedManifest> manifest = ReadFolderManifest(folder);
  if (!manifest.ok()) return Fail(manifest.status(), kBadModel);
  size_t tensors = 0;
  for (const RankFile& rank : manifest->ranks) tensors += rank.tensors.size();
  std::printf("%s: %zu tensors of %zu ranks and %zu other files have the SHA-256 they had; digest %s\n",
              folder.c_str(), tensors, manifest->ranks.size(), manifest->files.size(),
              manifest->Digest().c_str());
  return kDone;
}

void Report(const ConvertOptions& options, const ConvertReport& report, double seconds) {
  const auto written = static_cast<double>(report.bytes - report.bytes_kept);
  if (report.ranks_kept > 0) {
    std::printf("%d of %zu ranks were finished by an earlier run\n", report.ranks_kept,
                report.manifest.ranks.size());
  }
  std::printf("%s: tp %d, pp %d, packing %s, %.3f GB, of which %.3f GB written in %.1f s (%.0f MB/s)\n",
              options.destination.c_str(), options.tp, options.pp,
              std::string(PackingName(options.packing)).c_str(), static_cast<double>(report.bytes) / 1e9,
              written / 1e9, seconds, written / 1e6 / seconds);
  std::printf("digest %s\n", report.manifest.Digest().c_str());
}

int Convert(const ConvertCommand& command) {
  JobOptions job;
  job.synthetic = command.synthetic;
  job.model = command.synthetic.empty() ? command.paths[0] : "";
  job.served_model_name = command.name;
  if (job.synthetic.empty() && IsConverted(job.model)) {
    return Fail(absl::InvalidArgumentError(absl::StrCat(
                    job.model, ": is a converted folder already; convert what it was made from")),
                kBadArguments);
  }
  const auto source = OpenModel(job);
  if (!source.ok()) return Fail(source.status(), kBadModel);
  ConvertOptions options;
  options.destination = FolderPath(command.paths.back());
  options.name = job.ModelName();
  options.tp = command.tp;
  options.pp = command.pp;
  options.threads = command.threads > 0 ? command.threads : OwnCores();
  options.packing = command.packing == "cpu" ? TernaryPacking::kCpu : TernaryPacking::kFiveTrits;
  const absl::Status checked = CheckConversion((*source)->config(), options);
  if (!checked.ok()) return Fail(checked, kBadArguments);
  auto files = FilesToKeep(job, **source);
  if (!files.ok()) return Fail(files.status(), kBadModel);
  options.files = *std::move(files);
  LogRounding(**source);
  ProgressLine progress("converting", true);
  const auto start = std::chrono::steady_clock::now();
  const auto report = ConvertModel(**source, options, [&](double done) { progress.Show(done); });
  progress.Done();
  if (!report.ok()) return Fail(report.status(), ExitCodeOf(report.status()));
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  Report(options, *report, seconds.count());
  return kDone;
}

int Run(const ConvertCommand& command) {
  if (const absl::Status asked = cpu::CheckIsa(); !asked.ok()) return Fail(asked, kBadArguments);
  if (const absl::Status paths = CheckPaths(command); !paths.ok()) return Fail(paths, kBadArguments);
  return command.verify ? Verify(command.paths[0]) : Convert(command);
}

}  // namespace

void AddConvert(CLI::App& app, Command& chosen) {
  CLI::App* command =
      app.add_subcommand("convert", "any readable model -> a folder with one packed, checked file a rank");
  auto options = std::make_shared<ConvertCommand>();
  command->add_option("SRC DST", options->paths,
                      "the model, and the folder to make; with --synthetic or --verify the folder alone");
  command->add_option("--config", "TOML file with options of these names")->type_name("FILE");
  AddOption(*command, "--synthetic", options->synthetic,
            "random weights of the shape this config.json gives");
  AddOption(*command, "--tp,--tensor-parallel-size", options->tp, "tensor-parallel ranks")
      ->check(CLI::PositiveNumber);
  AddOption(*command, "--pp,--pipeline-parallel-size", options->pp, "pipeline stages")
      ->check(CLI::PositiveNumber);
  AddOption(*command, "--packing", options->packing,
            "ternary weights as CPU kernels read them (cpu), or five a byte (five-trits); GPUs take both")
      ->check(CLI::IsMember({"cpu", "five-trits"}));
  AddOption(*command, "--served-model-name", options->name, "the model's name; default: the source's");
  AddOption(*command, "--threads", options->threads, "threads that pack; 0: the cores it may use")
      ->check(CLI::NonNegativeNumber);
  AddFlag(*command, "--verify", options->verify, "read all of a converted folder and compare every SHA-256");
  command->callback([options, &chosen] { chosen.run_alone = [options] { return Run(*options); }; });
}

}  // namespace ternion
