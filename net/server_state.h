#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_set>

#include "absl/status/status.h"
#include "net/api_keys.h"
#include "net/connection.h"
#include "net/model_service.h"
#include "net/server_options.h"
#include "net/wake_list.h"

namespace ternion {

// What the sessions of one server share. Thread-safe.
class ServerState {
 public:
  // `io` runs the sessions. When it goes, wakes() must have been closed.
  ServerState(ServerOptions options, boost::asio::io_context& io);

  const ServerOptions& options() const { return options_; }
  const std::shared_ptr<WakeList>& wakes() const { return wakes_; }
  const ApiKeys& keys() const { return keys_; }
  int64_t started_at() const { return started_at_; }  // Unix seconds

  void SetModel(const ModelService& model);
  std::optional<ModelService> model() const;
  // kUnavailable, with an error code (WithErrorCode), while the model is loaded, while the server drains, or when the engine
  // says why.
  absl::Status Ready() const;

  void BeginDrain() { draining_ = true; }
  bool draining() const { return draining_; }
  // One answer to a generation request is being made; while it lives, the drain waits.
  std::shared_ptr<void> EnterGeneration();
  // False when generations still ran after `limit`.
  bool WaitUntilIdle(std::chrono::milliseconds limit);
  int running_generations() const;

  // kServed, up to the most connections; some more are kTurnedAway with an answer; others kRefused, as are
  // all once the connections were aborted.
  enum class Admission { kServed, kTurnedAway, kRefused };
  Admission Add(const std::shared_ptr<Connection>& connection);
  void Remove(const std::shared_ptr<Connection>& connection);
  void AbortConnections();

 private:
  void LeaveGeneration();

  const ServerOptions options_;
  const ApiKeys keys_;
  const std::shared_ptr<WakeList> wakes_;
  const int64_t started_at_;
  std::atomic<bool> draining_ = false;

  mutable std::mutex mutex_;
  std::condition_variable idle_;
  bool aborted_ = false;
  std::optional<ModelService> model_;
  int running_generations_ = 0;
  std::unordered_set<std::shared_ptr<Connection>> connections_;
};

}  // namespace ternion
