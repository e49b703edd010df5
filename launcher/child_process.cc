#include "launcher/child_process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "kernels/status.h"

extern char** environ;

namespace ternion {
namespace {

using Clock = std::chrono::steady_clock;

std::vector<std::string> ChildEnvironment(const LaunchCommand& command) {
  std::vector<std::string> lines;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string line = *entry;
    const std::string name = line.substr(0, line.find('='));
    if (absl::StartsWith(name, "TERNION_") || command.environment.count(name) > 0 ||
        command.secrets.count(name) > 0) {
      continue;
    }
    lines.push_back(line);
  }
  for (const auto* variables : {&command.environment, &command.secrets}) {
    for (const auto& [name, value] : *variables) lines.push_back(absl::StrCat(name, "=", value));
  }
  return lines;
}

std::vector<char*> Pointers(std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  for (std::string& text : strings) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

// Between fork and exec; the error's number goes to the parent through `fault`.
[[noreturn]] void BecomeProgram(char* const* arguments, char* const* environment, int out, int err, int fault,
                                pid_t parent) {
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() != parent) _exit(127);
  signal(SIGPIPE, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  const int null = open("/dev/null", O_RDONLY);
  dup2(null, STDIN_FILENO);
  dup2(out, STDOUT_FILENO);
  if (err >= 0) dup2(err, STDERR_FILENO);
  execvpe(arguments[0], arguments, environment);
  const int code = errno;
  if (write(fault, &code, sizeof(code)) < 0) _exit(126);
  _exit(127);
}

struct Pipe {
  int read = -1;
  int write = -1;
};

absl::StatusOr<Pipe> MakePipe() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0)
    return absl::ResourceExhaustedError(absl::StrCat("pipe: ", std::strerror(errno)));
  return Pipe{ends[0], ends[1]};
}

// False at the end.
bool ReadSome(int file, std::string* to) {
  char bytes[4096];
  const ssize_t got = read(file, bytes, sizeof(bytes));
  if (got > 0) to->append(bytes, static_cast<size_t>(got));
  return got > 0 || (got < 0 && errno == EINTR);
}

// Reads both pipes to their ends; false when that took longer than to `deadline`.
bool ReadAll(ChildProcess& child, ChildOutput* output, Clock::time_point deadline) {
  while (child.out >= 0 || child.err >= 0) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now());
    if (left.count() <= 0) return false;
    pollfd files[] = {{child.out, POLLIN, 0}, {child.err, POLLIN, 0}};
    poll(files, 2, static_cast<int>(left.count()));
    const auto take = [](pollfd& polled, int* file, std::string* to) {
      if (polled.revents == 0 || ReadSome(*file, to)) return;
      close(*file);
      *file = -1;
    };
    take(files[0], &child.out, &output->out);
    take(files[1], &child.err, &output->err);
  }
  return true;
}

ChildOutput Finish(ChildProcess child, Clock::time_point deadline) {
  ChildOutput output;
  const bool ended = ReadAll(child, &output, deadline);
  if (!ended) kill(-child.pid, SIGKILL);
  for (const int file : {child.out, child.err}) {
    if (file >= 0) close(file);
  }
  int status = 0;
  waitpid(child.pid, &status, 0);
  if (ended) output.status = ExitStatusOf(status);
  return output;
}

}  // namespace

absl::StatusOr<ChildProcess> StartChild(const LaunchCommand& command, bool take_err) {
  std::vector<std::string> arguments = command.arguments;
  std::vector<std::string> environment = ChildEnvironment(command);
  const std::vector<char*> argv = Pointers(arguments);
  const std::vector<char*> envp = Pointers(environment);
  TERNION_ASSIGN_OR_RETURN(const Pipe out, MakePipe());
  TERNION_ASSIGN_OR_RETURN(const Pipe err, MakePipe());
  TERNION_ASSIGN_OR_RETURN(const Pipe fault, MakePipe());
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid == 0)
    BecomeProgram(argv.data(), envp.data(), out.write, take_err ? err.write : -1, fault.write, parent);
  const int fork_error = errno;
  for (const int file : {out.write, err.write, fault.write}) close(file);
  int code = pid < 0 ? fork_error : 0;
  if (pid > 0 && read(fault.read, &code, sizeof(code)) <= 0) code = 0;
  close(fault.read);
  if (!take_err || code != 0) close(err.read);
  if (code == 0) return ChildProcess{pid, out.read, take_err ? err.read : -1};
  close(out.read);
  if (pid > 0) waitpid(pid, nullptr, 0);
  return absl::NotFoundError(absl::StrCat("cannot start ", command.arguments[0], ": ", std::strerror(code)));
}

int ExitStatusOf(int wait_status) {
  return WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : 128 + WTERMSIG(wait_status);
}

std::vector<absl::StatusOr<ChildOutput>> RunTogether(absl::Span<const LaunchCommand> commands,
                                                     std::chrono::milliseconds limit) {
  const auto deadline = Clock::now() + limit;
  std::vector<absl::StatusOr<ChildProcess>> children;
  for (const LaunchCommand& command : commands) children.push_back(StartChild(command, /*take_err=*/true));
  std::vector<absl::StatusOr<ChildOutput>> outputs;
  for (const absl::StatusOr<ChildProcess>& child : children) {
    if (child.ok()) {
      outputs.emplace_back(Finish(*child, deadline));
    } else {
      outputs.emplace_back(child.status());
    }
  }
  return outputs;
}

}  // namespace ternion
