// Bytes of the control channel as they come, cut at two places, and what the frames in them say.
#include "parallel/control_frames.h"

#include "runtime/serving/step_plan.h"
#include "tests/fuzz/fuzz_input.h"

namespace {

void Take(const ternion::Frame& frame) {
  if (const auto plan = ternion::DecodePlan(frame.payload); plan.ok()) (void)ternion::EncodePlan(*plan);
  if (const auto result = ternion::DecodeResult(frame.payload); result.ok())
    (void)ternion::EncodeResult(*result);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes = ternion::AsText(data, size);
  ternion::FrameParser parser;
  for (const std::string_view part :
       {bytes.substr(0, size / 3), bytes.substr(size / 3, size / 3), bytes.substr(size / 3 * 2)}) {
    if (!parser.Feed(part, Take).ok()) return 0;
  }
  return 0;
}
