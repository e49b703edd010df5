#include "net/server_state.h"

#include <ctime>
#include <utility>

#include "net/http_error.h"

namespace ternion {

ServerState::ServerState(ServerOptions options, std::unique_ptr<TlsContext> tls, boost::asio::io_context& io)
    : options_(std::move(options)),
      keys_(options_.api_keys),
      cors_(options_.cors_origins),
      tls_(std::move(tls)),
      mail_(std::make_shared<TokenMail>(io)),
      started_at_(std::time(nullptr)) {}

void ServerState::SetModel(const ModelService& model) {
  const std::lock_guard lock(mutex_);
  model_ = model;
}

std::optional<ModelService> ServerState::model() const {
  const std::lock_guard lock(mutex_);
  return model_;
}

absl::Status ServerState::Ready() const {
  const std::optional<ModelService> current = model();
  // The engine first: a lost rank says more than the drain that the launcher asks for then.
  absl::Status why = current.has_value() ? current->generator->Ready() : absl::OkStatus();
  if (why.ok() && draining())
    why = absl::UnavailableError("the server is draining: it takes no new requests");
  if (why.ok() && !current.has_value()) {
    return WithErrorCode(absl::UnavailableError("the model is being loaded"), "loading");
  }
  if (why.ok()) return why;
  const std::string code = ErrorCodeOf(why);
  return WithErrorCode(absl::UnavailableError(why.message()), code.empty() && draining() ? "draining" : code);
}

std::shared_ptr<void> ServerState::EnterGeneration() {
  const std::lock_guard lock(mutex_);
  ++running_generations_;
  return {this, [](ServerState* state) { state->LeaveGeneration(); }};
}

void ServerState::LeaveGeneration() {
  const std::lock_guard lock(mutex_);
  --running_generations_;
  idle_.notify_all();
}

bool ServerState::WaitUntilIdle(std::chrono::milliseconds limit) {
  std::unique_lock lock(mutex_);
  return idle_.wait_for(lock, limit, [this] { return running_generations_ == 0; });
}

int ServerState::running_generations() const {
  const std::lock_guard lock(mutex_);
  return running_generations_;
}

ServerState::Admission ServerState::Add(const std::shared_ptr<Connection>& connection) {
  constexpr size_t kMostTurnedAway = 64;
  const std::lock_guard lock(mutex_);
  if (aborted_ || connections_.size() >= options_.max_connections + kMostTurnedAway)
    return Admission::kRefused;
  const bool room = connections_.size() < options_.max_connections;
  connections_.insert(connection);
  return room ? Admission::kServed : Admission::kTurnedAway;
}

bool ServerState::TellsOfTheCap() {
  constexpr std::chrono::seconds kBetween{10};
  const auto now = std::chrono::steady_clock::now();
  const std::lock_guard lock(mutex_);
  if (cap_told_ != std::chrono::steady_clock::time_point() && now - cap_told_ < kBetween) return false;
  cap_told_ = now;
  return true;
}

void ServerState::Remove(const std::shared_ptr<Connection>& connection) {
  const std::lock_guard lock(mutex_);
  connections_.erase(connection);
}

void ServerState::AbortConnections() {
  const std::lock_guard lock(mutex_);
  aborted_ = true;
  for (const auto& connection : connections_) connection->Abort();
}

}  // namespace ternion
