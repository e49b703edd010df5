#pragma once

#include <CLI/CLI.hpp>

#include "launcher/commands.h"

namespace ternion {

// `ternion bench serve`: loads any OpenAI-compatible server over HTTP and tells its throughput and latencies.
// It runs no model and starts no MPI.
void AddBenchServe(CLI::App& bench, Command& chosen);

}  // namespace ternion
