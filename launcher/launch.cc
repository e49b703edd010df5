#include <errno.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <climits>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "kernels/status.h"
#include "launcher/child_process.h"
#include "launcher/commands.h"
#include "launcher/exit_code.h"
#include "launcher/host_report.h"
#include "launcher/job_supervisor.h"

namespace ternion {
namespace {

constexpr std::chrono::seconds kCheckLimit{60};

struct LaunchOptions {
  std::string file;
  std::string restart;  // "": never; "true": as often as it takes; else how often
  bool dry_run = false;
  bool check = false;
};

std::set<std::string> ServeOptionNames(const CLI::App& app) {
  std::set<std::string> names;
  for (const CLI::Option* option : app.get_subcommand("serve")->get_options()) {
    for (const std::string& name : option->get_lnames()) names.insert(name);
  }
  names.erase("help");
  return names;
}

// In a bundle (launcher/bundle) the one that sets its environment up.
std::string ThisProgram() {
  std::error_code error;
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", error);
  const std::filesystem::path wrapper = program.parent_path().parent_path() / "bin" / program.filename();
  const bool bundled =
      program.parent_path().filename() == "libexec" && std::filesystem::exists(wrapper, error);
  return (bundled ? wrapper : program).string();
}

absl::StatusOr<Cluster> OpenCluster(const std::string& path, const std::set<std::string>& serve_options) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return absl::NotFoundError(absl::StrCat(path, ": cannot be read"));
  const std::string text(std::istreambuf_iterator<char>(file), {});
  if (file.bad()) return absl::NotFoundError(absl::StrCat(path, ": cannot be read"));
  TERNION_ASSIGN_OR_RETURN(Cluster cluster, ParseCluster(text, path, serve_options));
  std::error_code error;
  if (cluster.program.empty()) cluster.program = ThisProgram();
  if (cluster.directory.empty()) cluster.directory = std::filesystem::current_path(error).string();
  return cluster;
}

// -1: without an end.
absl::StatusOr<int> Restarts(const std::string& text) {
  int number = 0;
  if (text.empty()) return 0;
  if (text == "true") return -1;
  if (absl::SimpleAtoi(text, &number) && number >= 0) return number;
  return absl::InvalidArgumentError(absl::StrCat("--restart=", text, " is no number of restarts"));
}

std::string LastLine(const std::string& text) {
  const size_t end = text.find_last_not_of("\r\n");
  if (end == std::string::npos) return "";
  const size_t begin = text.find_last_of('\n', end);
  return text.substr(begin == std::string::npos ? 0 : begin + 1,
                     end - (begin == std::string::npos ? 0 : begin + 1) + 1);
}

absl::StatusOr<HostReport> ReportOf(const absl::StatusOr<ChildOutput>& output) {
  if (!output.ok()) return output.status();
  if (output->status == -1) {
    return absl::DeadlineExceededError(absl::StrCat("has not answered within ", kCheckLimit.count(), " s"));
  }
  if (output->status != 0) {
    return absl::UnavailableError(
        absl::StrCat("its check ended with status ", output->status, ": ", LastLine(output->err)));
  }
  return HostReport::FromJson(output->out);
}

// Asks every host, at once, and shows what they say.
bool CheckHosts(const Cluster& cluster) {
  std::vector<LaunchCommand> commands;
  for (size_t i = 0; i < cluster.hosts.size(); ++i) commands.push_back(ComposeHostCheck(cluster, i));
  const auto outputs = RunTogether(commands, kCheckLimit);
  std::vector<CheckedHost> hosts;
  int first_rank = 0;
  for (size_t i = 0; i < outputs.size(); ++i) {
    hosts.push_back({cluster.hosts[i], first_rank, ReportOf(outputs[i]), {}, {}});
    first_rank += cluster.hosts[i].slots;
  }
  JudgeHosts(cluster, &hosts);
  std::fprintf(stderr, "%s", HostTable(hosts).c_str());
  return AllFit(hosts);
}

// 1 s, then twice as long each time, up to half a minute.
std::chrono::seconds Backoff(int failures) {
  return std::chrono::seconds(std::min(30, 1 << std::min(failures, 5)));
}

class Launcher {
 public:
  Launcher(const Cluster& cluster, LaunchCommand job, int restarts)
      : cluster_(cluster), job_(std::move(job)), restarts_(restarts) {}

  int Run() {
    if (!CheckHosts(cluster_)) return kFailed;
    int status = RunOnce();
    for (int done = 0; MayRestart(status, done); ++done) {
      const std::chrono::seconds pause = Backoff(failures_);
      ++failures_;
      std::fprintf(stderr, "ternion launch: a rank was lost; restart %d%s in %d s\n", done + 1,
                   restarts_ < 0 ? "" : absl::StrCat(" of ", restarts_).c_str(),
                   static_cast<int>(pause.count()));
      if (!supervisor_.Sleep(pause)) break;
      // A host that is still away counts as another loss, also where mpirun finds it so.
      status = CheckHosts(cluster_) ? RunOnce() : kLostRank;
      if (status == kFailed) status = kLostRank;
    }
    return status;
  }

 private:
  int RunOnce() {
    const auto begin = std::chrono::steady_clock::now();
    const absl::StatusOr<int> status = supervisor_.Run(job_, cluster_.ranks());
    // What has served for a minute has come back.
    if (std::chrono::steady_clock::now() - begin > std::chrono::minutes(1)) failures_ = 0;
    if (status.ok()) return *status;
    std::fprintf(stderr, "ternion: %s\n", std::string(status.status().message()).c_str());
    return kFailed;
  }
  bool MayRestart(int status, int done) const {
    return status == kLostRank && !supervisor_.stopped() && (restarts_ < 0 || done < restarts_);
  }

  const Cluster& cluster_;
  const LaunchCommand job_;
  const int restarts_;
  int failures_ = 0;  // in a row
  JobSupervisor supervisor_;
};

int Fail(const absl::Status& status) {
  std::fprintf(stderr, "ternion: %s\n", std::string(status.message()).c_str());
  return kBadArguments;
}

int Launch(const LaunchOptions& options, const std::set<std::string>& serve_options) {
  const absl::StatusOr<int> restarts = Restarts(options.restart);
  if (!restarts.ok()) return Fail(restarts.status());
  const absl::StatusOr<Cluster> cluster = OpenCluster(options.file, serve_options);
  if (!cluster.ok()) return Fail(cluster.status());
  const absl::StatusOr<LaunchCommand> job = ComposeJob(*cluster, geteuid() == 0);
  if (!job.ok()) return Fail(job.status());
  std::fprintf(options.dry_run ? stdout : stderr, "%s\n", ShowCommand(*job).c_str());
  if (options.dry_run) return kDone;
  if (options.check) return CheckHosts(*cluster) ? kDone : kFailed;
  return Launcher(*cluster, *job, *restarts).Run();
}

}  // namespace

void AddLaunch(CLI::App& app, Command& chosen) {
  CLI::App* command =
      app.add_subcommand("launch", "runs the server on the hosts that a TOML file names, by mpirun");
  auto options = std::make_shared<LaunchOptions>();
  command->add_option("FILE", options->file, "the cluster, as README describes it")->required();
  command->add_flag("--restart", options->restart,
                    "bring the job back when a rank was lost; --restart=N: N times at most");
  command->add_flag("--dry-run", options->dry_run, "show the command, and start nothing");
  command->add_flag("--check", options->check, "check the hosts, and start nothing");
  command->callback([options, &app, &chosen] {
    chosen.run_alone = [options, &app] { return Launch(*options, ServeOptionNames(app)); };
  });
}

}  // namespace ternion
