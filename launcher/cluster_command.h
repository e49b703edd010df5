#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "launcher/cluster_file.h"

namespace ternion {

// A program to run: its arguments, and variables that its environment has beside this process's. A secret's value stands
// in `secrets` alone.
struct LaunchCommand {
  std::vector<std::string> arguments;
  std::map<std::string, std::string> environment;
  std::map<std::string, std::string> secrets;
};

// The mpirun of a cluster's job. kNotFound names a secret that is not there.
absl::StatusOr<LaunchCommand> ComposeJob(const Cluster& cluster, bool as_root);

// What checks host number `index` before the job starts: `ternion host-check` there, over ssh unless the host is this one.
LaunchCommand ComposeHostCheck(const Cluster& cluster, size_t index);

// As one would type it, without what is secret.
std::string ShowCommand(const LaunchCommand& command);

// A word for a shell: quoted where it has to be.
std::string ShellQuote(std::string_view word);

}  // namespace ternion
