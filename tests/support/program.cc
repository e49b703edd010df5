#include "tests/support/program.h"

#include <gtest/gtest.h>

namespace ternion {
namespace {

// Open MPI refuses to run as root, and on fewer cores than ranks, unless told.
const std::vector<std::string> kMpiEnvironment = {"OMPI_ALLOW_RUN_AS_ROOT=1",
                                                  "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1"};

std::vector<std::string> WithMpi(std::vector<std::string> environment) {
  environment.push_back("TERNION_DEVICE=cpu");
  environment.insert(environment.end(), kMpiEnvironment.begin(), kMpiEnvironment.end());
  return environment;
}

}  // namespace

std::string SourcePath(const std::string& path) { return std::string(TERNION_SOURCE_DIR) + "/" + path; }

std::string DemoModel() { return SourcePath("configs/demo"); }

std::vector<std::string> ProgramCommand(int ranks, const std::vector<std::string>& arguments,
                                        const std::vector<std::string>& mpirun) {
  std::vector<std::string> command;
  if (ranks > 1) {
    command = {"mpirun", "--oversubscribe", "--bind-to", "none", "-np", std::to_string(ranks)};
    command.insert(command.end(), mpirun.begin(), mpirun.end());
  }
  command.push_back(TERNION_BINARY);
  command.insert(command.end(), arguments.begin(), arguments.end());
  return command;
}

std::unique_ptr<Process> StartProgram(int ranks, const std::vector<std::string>& arguments,
                                      const std::vector<std::string>& environment,
                                      const std::vector<std::string>& mpirun) {
  return std::make_unique<Process>(ProgramCommand(ranks, arguments, mpirun), WithMpi(environment));
}

ProgramResult RunCommand(const std::vector<std::string>& command,
                         const std::vector<std::string>& environment) {
  Process process(command, WithMpi(environment));
  const int exit_status = process.Wait(kRunLimit).value_or(-1);
  return {exit_status, process.Out(), process.Err()};
}

ProgramResult RunProgram(int ranks, const std::vector<std::string>& arguments) {
  return RunCommand(ProgramCommand(ranks, arguments));
}

nlohmann::json RunForJson(int tp, int pp, std::vector<std::string> arguments) {
  const std::string threads = tp * pp == 1 ? "--threads=2" : "--threads=1";
  const std::string grid[] = {"--tp=" + std::to_string(tp), "--pp=" + std::to_string(pp)};
  arguments.insert(arguments.end(), {"--json", threads, grid[0], grid[1]});
  const ProgramResult result = RunProgram(tp * pp, arguments);
  nlohmann::json json = nlohmann::json::parse(result.out, nullptr, /*allow_exceptions=*/false);
  if (result.exit_status == 0 && json.is_object()) return json;
  ADD_FAILURE() << "exit status " << result.exit_status << "\n" << result.out << "\n" << result.err;
  return nlohmann::json::object();
}

}  // namespace ternion
