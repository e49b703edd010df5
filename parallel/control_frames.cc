#include "parallel/control_frames.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/check.h"
#include "parallel/control_proof.h"

namespace ternion {
namespace {

constexpr size_t kHeaderBytes = 2 * sizeof(uint32_t);  // length of the payload, kind

}  // namespace

FrameBytes EncodeFrame(const Frame& frame) {
  CHECK(frame.payload.size() <= kMostFrameBytes, "a frame's payload is at most kMostFrameBytes long");
  std::string bytes;
  bytes.reserve(kHeaderBytes + frame.payload.size());
  AppendUint32(static_cast<uint32_t>(frame.payload.size()), bytes);
  AppendUint32(frame.kind, bytes);
  bytes += frame.payload;
  return std::make_shared<const std::string>(std::move(bytes));
}

absl::Status FrameParser::Feed(std::string_view bytes, absl::FunctionRef<void(Frame)> on_frame) {
  partial_ += bytes;
  size_t begin = 0;
  while (partial_.size() - begin >= kHeaderBytes) {
    const size_t length = ReadUint32(partial_.data() + begin);
    if (length > kMostFrameBytes) {
      return absl::InvalidArgumentError(
          absl::StrCat("a control frame of ", length, " bytes; at most ", kMostFrameBytes, " are allowed"));
    }
    if (partial_.size() - begin - kHeaderBytes < length) break;
    const uint32_t kind = ReadUint32(partial_.data() + begin + sizeof(uint32_t));
    on_frame(Frame{kind, partial_.substr(begin + kHeaderBytes, length)});
    begin += kHeaderBytes + length;
  }
  partial_.erase(0, begin);
  return absl::OkStatus();
}

}  // namespace ternion
