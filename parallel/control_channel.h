#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace ternion {

// The control plane: TCP between rank 0 and every other rank. Frames are fixed-layout and length-capped:
//   uint32 length of the payload (little-endian, at most kMostFrameBytes), uint32 kind, payload.
// Kind 0 is the heartbeat, without payload, which both sides send; kind 0xFFFFFFFF is the goodbye; callers send and
// receive any other.
// A frame longer than the cap, an unknown rank, a second connection of a rank, or a wrong proof ends the
// connection.
//
// Handshake: rank 0 makes a 32-byte secret, which travels to the ranks over MPI. The server sends a 32-byte
// nonce; the client answers with its rank, a nonce of its own and HMAC-SHA256(secret, "ternion client" |
// server nonce | client nonce | rank); the server proves itself with HMAC-SHA256(secret, "ternion server" |
// client nonce | server nonce). Proofs are compared in constant time.
struct Frame {
  uint32_t kind = 0;
  std::string payload;
};
inline constexpr size_t kMostFrameBytes = 64u << 20;

// 32 bytes from the operating system's random source.
absl::StatusOr<std::string> MakeControlSecret();

// Rank 0's side. A thread of its own runs the sockets; callbacks come on it and must not block.
class ControlServer {
 public:
  struct Callbacks {
    std::function<void(int rank, Frame frame)> on_frame;
    // The connection to a rank ended (kUnavailable), it has been silent too long (kDeadlineExceeded), it does
    // not read (kResourceExhausted), it sent nonsense (kInvalidArgument), or it has stopped its side in order (kCancelled);
    // once per rank, not after Stop.
    std::function<void(int rank, absl::Status why)> on_lost;
  };

  // Listens on `address` (empty: every interface) and a free port.
  static absl::StatusOr<std::unique_ptr<ControlServer>> Listen(const std::string& address, std::string secret,
                                                               int world, Callbacks callbacks,
                                                               std::chrono::milliseconds silence_limit);
  virtual ~ControlServer() = default;
  virtual uint16_t port() const = 0;
  // Waits until ranks 1 .. world-1 are connected and proven; kDeadlineExceeded names those that are missing,
  // kUnavailable one that was lost.
  virtual absl::Status WaitForAll(std::chrono::milliseconds limit) = 0;
  struct Contact {
    bool connected = false;
    std::chrono::nanoseconds silent_for{0};  // since it was last heard, a heartbeat or a frame
  };
  // Nothing before the rank has come.
  virtual std::optional<Contact> ContactWith(int rank) const = 0;
  // Queues a frame to one rank or to all others; never blocks. Frames to one rank arrive in order; those for
  // a rank that has not connected yet wait for it.
  virtual void SendTo(int rank, Frame frame) = 0;
  virtual void SendToAll(Frame frame) = 0;
  // Tells every rank that the job cannot go on, and why: their on_lost gets kAborted. The connections stay.
  virtual void SendFailure(std::string why) = 0;
  // Sends what is queued, then closes; a rank that does not close its side in turn is waited for 2 seconds.
  // No callback comes afterwards.
  virtual void Stop() = 0;
};

// What a client notices of rank 0 while its caller may wait elsewhere.
struct ControlWatch {
  std::chrono::milliseconds silence_limit{0};  // 0: none
  // The reasons are the server's, but for a connection that rank 0 has stopped in order, of which it does not tell; kAborted:
  // rank 0 says that the job cannot go on, and why. Once, not after Stop; on the client's own thread. May be empty.
  std::function<void(absl::Status why)> on_lost = nullptr;
};

// Another rank's side. Heartbeats go to the server from a thread of its own.
class ControlClient {
 public:
  // Tries until `limit` has passed. kUnauthenticated when the server cannot prove that it knows the secret,
  // or refuses this rank.
  static absl::StatusOr<std::unique_ptr<ControlClient>> Connect(const std::string& host, uint16_t port,
                                                                std::string secret, int rank,
                                                                std::chrono::milliseconds limit,
                                                                ControlWatch watch = {});
  virtual ~ControlClient() = default;
  // The next frame from rank 0. Sleeps until there is one; kUnavailable when the connection has ended.
  virtual absl::StatusOr<Frame> Next() = 0;
  // The same, or nothing when none has come after `limit`.
  virtual absl::StatusOr<std::optional<Frame>> NextWithin(std::chrono::microseconds limit) = 0;
  // Queues a frame to rank 0; never blocks.
  virtual void Send(Frame frame) = 0;
  // As the server's.
  virtual void Stop() = 0;
};

}  // namespace ternion
