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
#include "net/cors.h"
#include "net/model_service.h"
#include "net/server_options.h"
#include "net/tls_context.h"
#include "net/token_mail.h"

namespace ternion {

// What the sessions of one server share. Thread-safe.
class ServerState {
 public:
  // `io` runs the sessions. When it goes, mail() must have been closed. `tls`: null without TLS.
  ServerState(ServerOptions options, std::unique_ptr<TlsContext> tls, boost::asio::io_context& io);

  const ServerOptions& options() const { return options_; }
  TokenMail& mail() const { return *mail_; }
  const ApiKeys& keys() const { return keys_; }
  const Cors& cors() const { return cors_; }
  TlsContext* tls() const { return tls_.get(); }
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
  // True when nobody was told of the most connections for some seconds: a flood is not to fill the log.
  bool TellsOfTheCap();
  void Remove(const std::shared_ptr<Connection>& connection);
  void AbortConnections();

 private:
  void LeaveGeneration();

  const ServerOptions options_;
  const ApiKeys keys_;
  const Cors cors_;
  const std::unique_ptr<TlsContext> tls_;
  const std::shared_ptr<TokenMail> mail_;
  const int64_t started_at_;
  std::atomic<bool> draining_ = false;

  mutable std::mutex mutex_;
  std::condition_variable idle_;
  bool aborted_ = false;
  std::chrono::steady_clock::time_point cap_told_;
  std::optional<ModelService> model_;
  int running_generations_ = 0;
  std::unordered_set<std::shared_ptr<Connection>> connections_;
};

}  // namespace ternion
