#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "parallel/control_channel.h"

namespace ternion {

// The kinds of a heartbeat, which has no payload, and of a goodbye: the sender is about to end the connection, or, with a
// payload, the whole job cannot go on, for the reason that the payload tells. Neither reaches on_frame. Other kinds are
// the callers' own.
inline constexpr uint32_t kHeartbeatKind = 0;
inline constexpr uint32_t kGoodbyeKind = 0xFFFFFFFF;
inline constexpr bool IsCallersKind(uint32_t kind) { return kind != kHeartbeatKind && kind != kGoodbyeKind; }

// A frame as it is sent; one copy serves all receivers.
using FrameBytes = std::shared_ptr<const std::string>;
FrameBytes EncodeFrame(const Frame& frame);

// Cuts a byte stream into frames.
class FrameParser {
 public:
  // Calls on_frame for every frame that `bytes` complete. kInvalidArgument for a frame over kMostFrameBytes,
  // as soon as its length is known; the parser is then of no use.
  absl::Status Feed(std::string_view bytes, absl::FunctionRef<void(Frame)> on_frame);

 private:
  std::string partial_;
};

}  // namespace ternion
