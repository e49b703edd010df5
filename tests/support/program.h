#pragma once

#include <chrono>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/support/process.h"

// The built program, as a user starts it; on CPUs, unless the arguments say --device.
namespace ternion {

inline constexpr std::chrono::seconds kRunLimit{400};

// A path below the repository's root.
std::string SourcePath(const std::string& path);
std::string DemoModel();

struct ProgramResult {
  int exit_status = -1;  // -1: killed, it took longer than kRunLimit
  std::string out;
  std::string err;
};

// "mpirun ... -np RANKS ternion ARGUMENTS"; without mpirun when ranks is 1. `mpirun`: options of mpirun.
std::vector<std::string> ProgramCommand(int ranks, const std::vector<std::string>& arguments,
                                        const std::vector<std::string>& mpirun = {});
std::unique_ptr<Process> StartProgram(int ranks, const std::vector<std::string>& arguments,
                                      const std::vector<std::string>& environment = {},
                                      const std::vector<std::string>& mpirun = {});
// Starts a command and waits for its end.
ProgramResult RunCommand(const std::vector<std::string>& command,
                         const std::vector<std::string>& environment = {});
ProgramResult RunProgram(int ranks, const std::vector<std::string>& arguments);

// With --tp and --pp on tp * pp ranks, one thread each, and --json: the object that it prints. Fails the test
// and returns an empty object when the program fails.
nlohmann::json RunForJson(int tp, int pp, std::vector<std::string> arguments);

}  // namespace ternion
