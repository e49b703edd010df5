#pragma once

#include <CLI/CLI.hpp>
#include <functional>

namespace ternion {

class MpiSession;

// A parsed command.
struct Command {
  std::function<int(MpiSession& mpi)> run;  // on this rank; returns the exit status
  std::function<int()> run_alone;  // set instead of run by a command that needs no MPI: on the first rank
  bool takes_signals = false;      // SIGINT, SIGTERM, SIGUSR1 and SIGHUP are blocked for it to wait for
};

// Each adds its command to `app` and sets `chosen` when the command line names it. One file a command.
void AddServe(CLI::App& app, Command& chosen);
void AddGenerate(CLI::App& app, Command& chosen);
void AddPerplexity(CLI::App& app, Command& chosen);
void AddInspect(CLI::App& app, Command& chosen);
void AddConvert(CLI::App& app, Command& chosen);
void AddBench(CLI::App& app, Command& chosen);
void AddLaunch(CLI::App& app, Command& chosen);
void AddHostCheck(CLI::App& app, Command& chosen);

}  // namespace ternion
