#include "launcher/cluster_command.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <fstream>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "kernels/status.h"
#include "launcher/host_name.h"
#include "launcher/told_status.h"

namespace ternion {
namespace {

bool IsThisHost(const std::string& name) {
  return name == "localhost" || name == "127.0.0.1" || name == "::1" || name == HostName();
}

void Append(std::vector<std::string>* to, const std::vector<std::string>& more) {
  to->insert(to->end(), more.begin(), more.end());
}

std::vector<std::string> HostOptions(const Cluster& cluster) {
  const auto with_slots = [](std::string* out, const ClusterHost& host) {
    absl::StrAppend(out, host.name, ":", host.slots);
  };
  std::vector<std::string> options = {"-np",       absl::StrCat(cluster.ranks()),
                                      "--host",    absl::StrJoin(cluster.hosts, ",", with_slots),
                                      "--map-by",  "slot",
                                      "--bind-to", cluster.bind_to,
                                      "--wdir",    cluster.directory};
  // Ranks that wait for each other on one core must let each other run.
  if (cluster.oversubscribe) Append(&options, {"--oversubscribe", "--mca", "mpi_yield_when_idle", "1"});
  if (!cluster.interface.empty()) {
    Append(&options, {"--mca", "btl_tcp_if_include", cluster.interface, "--mca", "oob_tcp_if_include",
                      cluster.interface});
  }
  if (!cluster.ssh.empty()) Append(&options, {"--mca", "plm_rsh_agent", cluster.ssh});
  return options;
}

absl::StatusOr<std::string> ReadSecret(const std::string& name, const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return absl::NotFoundError(absl::StrCat("secret ", name, ": ", path, " cannot be read"));
  std::string value(std::istreambuf_iterator<char>(file), {});
  while (!value.empty() && std::isspace(static_cast<unsigned char>(value.back()))) value.pop_back();
  if (value.empty()) return absl::NotFoundError(absl::StrCat("secret ", name, ": ", path, " is empty"));
  return value;
}

absl::Status FindSecrets(const Cluster& cluster, std::map<std::string, std::string>* secrets) {
  for (const std::string& name : cluster.secrets) {
    const char* value = std::getenv(name.c_str());
    if (value == nullptr) {
      return absl::NotFoundError(absl::StrCat(
          "secret ", name, " is not in the environment; set it, or name a file in [secret-files]"));
    }
    (*secrets)[name] = value;
  }
  for (const auto& [name, path] : cluster.secret_files) {
    TERNION_ASSIGN_OR_RETURN((*secrets)[name], ReadSecret(name, path));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<LaunchCommand> ComposeJob(const Cluster& cluster, bool as_root) {
  LaunchCommand command;
  command.environment = cluster.environment;
  command.environment.insert_or_assign(kTellStatusVariable, std::string(1, '1'));
  TERNION_RETURN_IF_ERROR(FindSecrets(cluster, &command.secrets));
  std::vector<std::string>& arguments = command.arguments;
  // Else mpirun would end the others before they could tell their clients that a rank was lost.
  arguments = {"mpirun", "--enable-recovery"};
  if (as_root) arguments.push_back("--allow-run-as-root");
  Append(&arguments, HostOptions(cluster));
  for (const auto& [name, value] : command.environment) Append(&arguments, {"-x", name});
  for (const auto& [name, value] : command.secrets) Append(&arguments, {"-x", name});
  Append(&arguments, cluster.mpirun_options);
  Append(&arguments, {cluster.program, "serve"});
  if (!cluster.model.empty()) arguments.push_back(cluster.model);
  Append(&arguments, cluster.serve);
  return command;
}

LaunchCommand ComposeHostCheck(const Cluster& cluster, size_t index) {
  int first_rank = 0;
  for (size_t i = 0; i < index; ++i) first_rank += cluster.hosts[i].slots;
  const ClusterHost& host = cluster.hosts[index];
  std::vector<std::string> check = {cluster.program, "host-check"};
  if (!cluster.model.empty()) check.push_back(cluster.model);
  if (!cluster.synthetic.empty()) check.push_back(absl::StrCat("--synthetic=", cluster.synthetic));
  Append(&check, {absl::StrCat("--device=", cluster.device), absl::StrCat("--tp=", cluster.tp),
                  absl::StrCat("--pp=", cluster.pp), absl::StrCat("--first-rank=", first_rank),
                  absl::StrCat("--ranks=", host.slots)});
  if (index == 0) {  // rank 0 listens
    Append(&check, {absl::StrCat("--listen-host=", cluster.listen_host),
                    absl::StrCat("--listen-port=", cluster.port)});
  }
  const auto quoted = [](std::string* out, const std::string& word) { out->append(ShellQuote(word)); };
  const std::string line =
      absl::StrCat("cd ", ShellQuote(cluster.directory), " && exec ", absl::StrJoin(check, " ", quoted));
  if (IsThisHost(host.name)) return {{"sh", "-c", line}, {}, {}};
  return {{cluster.ssh.empty() ? "ssh" : cluster.ssh, host.name, line}, {}, {}};
}

std::string ShowCommand(const LaunchCommand& command) {
  std::vector<std::string> words;
  for (const auto& [name, value] : command.secrets) words.push_back(absl::StrCat(name, "=(secret)"));
  for (const auto& [name, value] : command.environment)
    words.push_back(absl::StrCat(name, "=", ShellQuote(value)));
  for (const std::string& word : command.arguments) words.push_back(ShellQuote(word));
  return absl::StrJoin(words, " ");
}

std::string ShellQuote(std::string_view word) {
  constexpr std::string_view kPlain = "_-./:,=@%+";
  const bool plain = !word.empty() && std::all_of(word.begin(), word.end(), [&](unsigned char c) {
    return std::isalnum(c) || kPlain.find(static_cast<char>(c)) != std::string_view::npos;
  });
  if (plain) return std::string(word);
  return absl::StrCat("'", absl::StrReplaceAll(ToAbsl(word), {{"'", "'\\''"}}), "'");
}

}  // namespace ternion
