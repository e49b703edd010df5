#include "tests/support/process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <thread>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "kernels/check.h"

namespace ternion {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::milliseconds kPause{20};

std::string FileContent(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

std::string NewMark() {
  static std::atomic<int> next{0};
  return absl::StrCat("TEST_RUN_OF_TERNION=", getpid(), "-", next++);
}

bool HasVariable(const std::string& environment, std::string_view variable) {
  const std::string line =
      absl::StrCat(absl::string_view(variable.data(), variable.size()), std::string(1, '\0'));
  return environment.compare(0, line.size(), line) == 0 || environment.find('\0' + line) != std::string::npos;
}

std::vector<std::string> ChildEnvironment(const std::vector<std::string>& more, const std::string& mark) {
  std::vector<std::string> lines = more;
  lines.push_back(mark);
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string line = *entry;
    const std::string name = line.substr(0, line.find('=') + 1);
    const auto replaces = [&](const std::string& other) { return other.compare(0, name.size(), name) == 0; };
    if (name.rfind("TERNION_", 0) == 0 || std::any_of(more.begin(), more.end(), replaces)) continue;
    lines.push_back(line);
  }
  return lines;
}

std::vector<char*> Pointers(std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  for (std::string& text : strings) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

int OpenForWriting(const std::filesystem::path& path) {
  const int file = open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  CHECK(file >= 0, "a file in a new folder can be written");
  return file;
}

// Between fork and exec: only calls that are safe after a fork of a threaded process.
[[noreturn]] void BecomeProgram(char* const* arguments, char* const* environment, int out, int err,
                                pid_t parent) {
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() != parent) _exit(127);
  setpgid(0, 0);
  dup2(open("/dev/null", O_RDONLY), STDIN_FILENO);
  dup2(out, STDOUT_FILENO);
  dup2(err, STDERR_FILENO);
  execvpe(arguments[0], arguments, environment);
  _exit(127);
}

}  // namespace

Process::Process(const std::vector<std::string>& arguments, const std::vector<std::string>& environment)
    : mark_(NewMark()) {
  std::vector<std::string> argument_strings = arguments;
  std::vector<std::string> environment_strings = ChildEnvironment(environment, mark_);
  const std::vector<char*> argv = Pointers(argument_strings);
  const std::vector<char*> envp = Pointers(environment_strings);
  const int out = OpenForWriting(folder_.path() / "out");
  const int err = OpenForWriting(folder_.path() / "err");
  const pid_t parent = getpid();
  pid_ = fork();
  CHECK(pid_ >= 0, "fork");
  if (pid_ == 0) BecomeProgram(argv.data(), envp.data(), out, err, parent);
  close(out);
  close(err);
}

Process::~Process() { Kill(); }

bool Process::Ended() {
  if (exit_status_) return true;
  int status = 0;
  if (waitpid(pid_, &status, WNOHANG) != pid_) return false;
  exit_status_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return true;
}

std::optional<int> Process::Wait(std::chrono::milliseconds limit) {
  const auto deadline = Clock::now() + limit;
  while (!Ended() && Clock::now() < deadline) std::this_thread::sleep_for(kPause);
  return exit_status_;
}

void Process::Kill() {
  if (!Ended()) kill(pid_, SIGKILL);
  // A member may start another while this goes on.
  for (std::vector<pid_t> left = Members(); !left.empty(); left = Members()) {
    for (const pid_t pid : left) kill(pid, SIGKILL);
    Ended();
    std::this_thread::sleep_for(kPause);
  }
  Wait(std::chrono::seconds(10));
}

std::string Process::Out() const { return FileContent(folder_.path() / "out"); }
std::string Process::Err() const { return FileContent(folder_.path() / "err"); }

bool Process::WaitForErr(std::string_view text, std::chrono::milliseconds limit) {
  const auto deadline = Clock::now() + limit;
  while (Err().find(text) == std::string::npos) {
    if (Ended() || Clock::now() > deadline) return Err().find(text) != std::string::npos;
    std::this_thread::sleep_for(kPause);
  }
  return true;
}

std::vector<pid_t> Process::Members(std::string_view variable) const {
  std::vector<pid_t> members;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", ignored)) {
    pid_t pid = 0;
    if (!absl::SimpleAtoi(entry.path().filename().string(), &pid)) continue;
    const std::string environment = FileContent(entry.path() / "environ");  // empty for a zombie
    if (!HasVariable(environment, mark_)) continue;
    if (variable.empty() || HasVariable(environment, variable)) members.push_back(pid);
  }
  return members;
}

}  // namespace ternion
