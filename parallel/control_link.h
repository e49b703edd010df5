#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <optional>

#include "absl/status/status.h"
#include "parallel/control_frames.h"

namespace ternion {

// A proven connection of the control plane, the same on both sides. Everything is called on the one thread
// that runs the socket's io_context; so are the callbacks.
class ControlLink : public std::enable_shared_from_this<ControlLink> {
 public:
  using Socket = boost::asio::ip::tcp::socket;
  using Clock = std::chrono::steady_clock;

  struct Events {
    std::function<void(Frame)> on_frame;  // heartbeats and goodbyes excepted
    // Once, with the reason; kCancelled when the peer has said goodbye before.
    std::function<void(absl::Status)> on_end;
    std::function<void()> on_heard;                   // some bytes came; may be empty
    std::function<void(std::string why)> on_goodbye;  // one that tells why the job cannot go on; may be empty
  };
  struct Timing {
    Clock::duration heartbeat;  // send one this often
    // End with kDeadlineExceeded when nothing came for this long.
    std::optional<Clock::duration> silence_limit;
  };
  // Heartbeats every second, or more often where the limit is short; 0: no limit.
  static Timing TimingFor(std::chrono::milliseconds silence_limit);
  // A peer that does not read while this much is queued for it ends the link with kResourceExhausted.
  static constexpr size_t kMostQueuedBytes = 4 * kMostFrameBytes;

  ControlLink(Socket socket, Events events, Timing timing);

  void Start();
  void Queue(FrameBytes bytes);
  // Sends what is queued and a goodbye, and ends when the peer has closed its side.
  void Finish();
  // Ends at once. Later calls do nothing.
  void Close(const absl::Status& why);
  bool open() const { return open_; }

 private:
  boost::asio::awaitable<void> Read();
  boost::asio::awaitable<void> Write();
  boost::asio::awaitable<void> Beat();
  boost::asio::awaitable<void> WatchSilence();
  void Receive(std::string_view bytes);
  void Take(Frame frame);

  Socket socket_;
  Events events_;
  const Timing timing_;
  boost::asio::steady_timer wake_;  // cancelled when the writer has something to do
  boost::asio::steady_timer beat_;
  boost::asio::steady_timer silence_;
  Clock::time_point last_heard_;
  FrameParser parser_;
  std::deque<FrameBytes> queue_;
  size_t queued_bytes_ = 0;
  bool open_ = true;
  bool finishing_ = false;
  bool peer_said_goodbye_ = false;
};

// Small frames leave at once, and a peer whose host has gone is noticed while something is sent to it.
void TuneControlSocket(ControlLink::Socket& socket);

}  // namespace ternion
