#pragma once

#include <chrono>
#include <mutex>
#include <thread>

#include "net/http_server.h"
#include "runtime/serving/coordinator.h"

namespace ternion {

// How a server ends in order, on the first of a signal or a client's request: it takes no new requests, and those that run
// get a time to finish. Thread-safe.
class Drain {
 public:
  struct Limits {
    std::chrono::milliseconds finish;  // for requests that run
    // A drain does not end before: mpirun sends SIGTERM to all ranks when one has died, and that is a loss.
    std::chrono::milliseconds least;
  };
  // Both outlive this object.
  Drain(HttpServer& server, Coordinator& coordinator, Limits limits)
      : server_(server), coordinator_(coordinator), limits_(limits) {}
  ~Drain();
  Drain(const Drain&) = delete;
  Drain& operator=(const Drain&) = delete;

  // Does not wait. Later calls do nothing, as any does after a loss.
  void Begin();
  // Running requests end with what they have; the process ends in any case.
  void Cut();

 private:
  void Run();

  HttpServer& server_;
  Coordinator& coordinator_;
  const Limits limits_;
  std::mutex mutex_;
  std::thread thread_;  // once begun
};

}  // namespace ternion
