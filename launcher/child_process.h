#pragma once

#include <sys/types.h>

#include <chrono>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "launcher/cluster_command.h"

namespace ternion {

// A program that was started: in a process group of its own, so that Ctrl-C on a terminal does not reach it, with
// /dev/null as input; it gets SIGTERM when this process dies. Variables named TERNION_* are handed on only when the command
// names them, since other hosts would not have them. The caller waits for the process and closes the pipes.
struct ChildProcess {
  pid_t pid = -1;
  int out = -1;  // what it writes to stdout
  int err = -1;  // to stderr; -1: that goes where this process's goes
};
absl::StatusOr<ChildProcess> StartChild(const LaunchCommand& command, bool take_err);

// As a shell has it: 128 + the number of the signal that ended it.
int ExitStatusOf(int wait_status);

struct ChildOutput {
  int status = -1;  // -1: it was killed, since it took too long
  std::string out;
  std::string err;
};
// Runs all commands at once, at most for so long.
std::vector<absl::StatusOr<ChildOutput>> RunTogether(absl::Span<const LaunchCommand> commands,
                                                     std::chrono::milliseconds limit);

}  // namespace ternion
