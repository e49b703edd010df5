#include "parallel/clock_offset.h"

#include <cstdint>

#include "absl/types/span.h"
#include "kernels/status.h"

namespace ternion {
namespace {

using Nanoseconds = std::chrono::nanoseconds;
using Now = absl::FunctionRef<Nanoseconds()>;

constexpr int kRounds = 32;

absl::Span<std::byte> BytesOf(int64_t& value) {
  return {reinterpret_cast<std::byte*>(&value), sizeof(value)};
}

absl::Status AnswerRank(Communicator& world, int rank, Now now) {
  for (int round = 0; round < kRounds; ++round) {
    int64_t time = 0;
    TERNION_RETURN_IF_ERROR(world.Recv(BytesOf(time), rank));
    time = now().count();
    TERNION_RETURN_IF_ERROR(world.Send(BytesOf(time), rank));
  }
  return absl::OkStatus();
}

absl::StatusOr<ClockOffset> AskRankZero(Communicator& world, Now now) {
  ClockOffset best;
  best.uncertainty = Nanoseconds::max();
  for (int round = 0; round < kRounds; ++round) {
    const Nanoseconds asked = now();
    int64_t time = 0;
    TERNION_RETURN_IF_ERROR(world.Send(BytesOf(time), 0));
    TERNION_RETURN_IF_ERROR(world.Recv(BytesOf(time), 0));
    const Nanoseconds half = (now() - asked) / 2;
    if (half < best.uncertainty) best = {asked + half - Nanoseconds(time), half};
  }
  // Ranks of one host share a clock: the measurement's error must not move them apart.
  if (best.ahead <= best.uncertainty && -best.ahead <= best.uncertainty) best.ahead = Nanoseconds(0);
  return best;
}

}  // namespace

absl::StatusOr<ClockOffset> MeasureClockOffset(Communicator& world, Now now) {
  ClockOffset mine;
  for (int rank = 1; rank < world.size(); ++rank) {
    if (world.rank() == 0) TERNION_RETURN_IF_ERROR(AnswerRank(world, rank, now));
    if (world.rank() != rank) continue;
    TERNION_ASSIGN_OR_RETURN(mine, AskRankZero(world, now));
  }
  return mine;
}

}  // namespace ternion
