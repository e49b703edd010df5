#pragma once

#include <sys/types.h>

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tests/support/temp_folder.h"

namespace ternion {

// A program with all that it starts (mpirun and its ranks, say), its output kept in files. Nothing of it
// outlives the object: whatever still runs is killed, also when the test itself is.
class Process {
 public:
  // arguments[0] is looked up in PATH. `environment`: NAME=value lines that replace or join this process's
  // own; variables named TERNION_* are not handed on. Start from a thread that lives as long as the test.
  explicit Process(const std::vector<std::string>& arguments,
                   const std::vector<std::string>& environment = {});
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  pid_t pid() const { return pid_; }
  // The exit status, 128 + the signal's number after a signal; nothing when it still runs after `limit`.
  std::optional<int> Wait(std::chrono::milliseconds limit);
  // Ends the program and everything it started.
  void Kill();

  // What it has written so far.
  std::string Out() const;
  std::string Err() const;
  // Waits until `text` stands on stderr; false when the program ends before, or after `limit`.
  bool WaitForErr(std::string_view text, std::chrono::milliseconds limit);

  // The program and what it started, those that live; with `variable` (NAME=value) those that have it in
  // their environment.
  std::vector<pid_t> Members(std::string_view variable = "") const;

 private:
  bool Ended();

  TempFolder folder_;
  std::string mark_;  // a variable in the environment of every member
  pid_t pid_ = -1;
  std::optional<int> exit_status_;
};

}  // namespace ternion
