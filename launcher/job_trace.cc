#include "launcher/job_trace.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/status.h"
#include "parallel/clock_offset.h"

namespace ternion {
namespace {

std::chrono::nanoseconds Now() { return Trace::Clock::now().time_since_epoch(); }

template <typename T>
absl::Span<std::byte> BytesOf(T& value) {
  return {reinterpret_cast<std::byte*>(&value), sizeof(value)};
}

}  // namespace

absl::StatusOr<std::unique_ptr<JobTrace>> JobTrace::Start(const MpiSession& mpi, const ProcessGrid& grid,
                                                          std::unique_ptr<OutputFile> file) {
  const std::string begin = mpi.Broadcast(file == nullptr ? "" : absl::StrCat(Now().count()));
  if (begin.empty()) return nullptr;
  std::unique_ptr<JobTrace> self(new JobTrace);
  self->grid_ = grid;
  self->name_ =
      absl::StrCat("rank ", grid.rank, ": stage ", grid.stage(), ", tp ", grid.tp_rank(), ", ", mpi.host());
  self->file_ = std::move(file);
  self->clock_.begin = std::chrono::nanoseconds(std::strtoll(begin.c_str(), nullptr, 10));
  TERNION_ASSIGN_OR_RETURN(self->world_, mpi.Split(0, grid.rank));
  TERNION_ASSIGN_OR_RETURN(self->clock_.first, self->LookAtClocks());
  return self;
}

absl::StatusOr<TraceClock::Look> JobTrace::LookAtClocks() {
  TERNION_ASSIGN_OR_RETURN(const ClockOffset offset, MeasureClockOffset(*world_, Now));
  uncertainty_ = std::max(uncertainty_, offset.uncertainty);
  return TraceClock::Look{Now(), offset.ahead};
}

absl::Status JobTrace::Write() {
  TERNION_ASSIGN_OR_RETURN(clock_.last, LookAtClocks());
  std::string events = TraceEvents(trace_, grid_.rank, name_, clock_);
  Header sum{static_cast<int64_t>(events.size()), trace_.dropped(), uncertainty_.count()};
  if (grid_.rank != 0) return Send(sum, events);
  absl::Status written = file_->Append("[\n" + events);
  for (int rank = 1; rank < grid_.size(); ++rank) {
    Header header;
    TERNION_RETURN_IF_ERROR(Receive(rank, &header, &events));
    if (written.ok()) written = file_->Append(",\n" + events);
    sum.dropped += header.dropped;
    sum.uncertainty_ns = std::max(sum.uncertainty_ns, header.uncertainty_ns);
  }
  if (written.ok()) written = file_->Commit("\n]\n");
  if (written.ok()) Report(sum);
  return written;
}

absl::Status JobTrace::Send(Header mine, const std::string& events) {
  TERNION_RETURN_IF_ERROR(world_->Send(BytesOf(mine), 0));
  TERNION_RETURN_IF_ERROR(
      world_->Send({reinterpret_cast<const std::byte*>(events.data()), events.size()}, 0));
  bool moving = true;
  while (moving) {
    TERNION_ASSIGN_OR_RETURN(moving, world_->Progress());
  }
  return absl::OkStatus();
}

absl::Status JobTrace::Receive(int rank, Header* header, std::string* events) {
  TERNION_RETURN_IF_ERROR(world_->Recv(BytesOf(*header), rank));
  events->resize(static_cast<size_t>(header->bytes));
  return world_->Recv({reinterpret_cast<std::byte*>(events->data()), events->size()}, rank);
}

void JobTrace::Report(const Header& sum) const {
  spdlog::info("trace of {} ranks written; their clocks agree within {:.1f} us", grid_.size(),
               static_cast<double>(sum.uncertainty_ns) / 1e3);
  if (sum.dropped == 0) return;
  spdlog::warn("the trace lacks the {} oldest spans: it holds the newest {} of each rank", sum.dropped,
               Trace::kMostSpans);
}

}  // namespace ternion
