#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "launcher/bench_serve_client.h"
#include "launcher/bench_serve_stream.h"
#include "launcher/bench_serve_workload.h"

namespace ternion {

// How the requests of a workload follow each other: one of the two is given.
struct LoadOptions {
  double rate = 0;  // Poisson arrivals a second, whatever the server does (open loop)
  int64_t concurrency =
      0;  // so many clients, each sends its next request when the last has ended (closed loop)
  uint64_t seed = 0;
  std::string model;
  double temperature = 0;
  bool ignore_eos = true;  // generate as many tokens as asked for, where the server knows this parameter
};

struct LoadResult {
  std::vector<RequestRecord> records;  // of the requests that have ended, in the order they were due
  double duration = 0;                 // seconds from the begin to the last end
  int64_t peak = 0;                    // the most requests at once
  bool interrupted = false;            // by SIGINT or SIGTERM: what was running then is left out
};

// A request's body for POST /v1/completions.
std::string CompletionBody(const Workload& workload, int64_t request, const LoadOptions& options);

// Runs the load. `on_end` is called with the number of requests that have ended, after each.
LoadResult RunLoad(const LoadTarget& target, const Workload& workload, const LoadOptions& options,
                   const std::function<void(int64_t ended)>& on_end);

// Lets this process open as many connections as the host allows. Returns that number.
int64_t RaiseConnectionLimit();

}  // namespace ternion
