// The job while it runs: rank 0 coordinates, the others follow its plans.
#include <chrono>
#include <cstdlib>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "kernels/status.h"
#include "launcher/job.h"
#include "launcher/rank_facts.h"
#include "launcher/told_status.h"
#include "runtime/serving/wire_byte_board.h"

namespace ternion {
namespace {

constexpr std::chrono::seconds kWireBytesInterval{1};

}  // namespace

absl::Status Job::OpenTrace() {
  if (mpi_.rank() != 0 || options_.trace.empty()) return absl::OkStatus();
  TERNION_ASSIGN_OR_RETURN(trace_file_, OutputFile::Open("--trace", options_.trace));
  return absl::OkStatus();
}

Job::Failure Job::StartTrace() {
  absl::StatusOr<std::unique_ptr<JobTrace>> trace = JobTrace::Start(mpi_, grid_, std::move(trace_file_));
  Failure started = Agree({trace.status(), kFailed});
  if (!started.status.ok()) return started;
  trace_ = *std::move(trace);
  if (trace_ != nullptr) engine_->UseTrace(trace_->trace());
  return started;
}

Job::Failure Job::WriteTrace() {
  if (trace_ == nullptr) return {};
  return Agree({trace_->Write(), kFailed});
}

Job::Failure Job::RunRank(const Body& body) {
  hosts_ = mpi_.AllGatherStrings(mpi_.host());
  facts_ = GatherFacts(mpi_, MyFacts());
  Failure failure = mpi_.rank() == 0 ? RunCoordinator(body) : RunWorker();
  if (server_ != nullptr) server_->Stop();
  if (client_ != nullptr) client_->Stop();
  return failure;
}

Job::Failure Job::RunCoordinator(const Body& body) {
  const auto send = [this](const StepPlan& plan) {
    if (server_ != nullptr) server_->SendToAll({kPlanFrame, EncodePlan(plan)});
  };
  const SchedulerLimits limits = MakeLimits();
  const auto step = [this, &limits](const StepPlan& plan) -> absl::StatusOr<StepResult> {
    if (!limits.plans_ahead) return engine_->Step(plan);
    TERNION_RETURN_IF_ERROR(engine_->Begin(plan));
    return StepResult();
  };
  const auto progress = [this] { return engine_->Progress(); };
  Coordinator coordinator(limits, grid_.sampler_rank() == 0, send, step, progress);
  if (limits.plans_ahead) {
    coordinator.StepsRunAhead([this] { return engine_->Finish(); });
  } else if (cuda_ && grid_.pp > 1) {
    coordinator.StepsRunAhead(nullptr);
  }
  if (trace_ != nullptr) coordinator.UseTrace(trace_->trace());
  if (body.metrics != nullptr) StartMetrics(*body.metrics, coordinator);
  if (body.status != nullptr) {
    body.status->Answer([&, this] { return ReadStatus(*body.metrics, coordinator); });
  }
  {
    std::lock_guard lock(coordinator_mutex_);
    coordinator_ = &coordinator;
  }
  absl::Status status = body.start(coordinator);
  if (status.ok()) status = coordinator.Run();
  if (body.finish) status = body.finish(status);
  if (body.metrics != nullptr) body.metrics->BeforeScrape(nullptr);
  if (body.status != nullptr) body.status->Answer(nullptr);
  {
    std::lock_guard lock(coordinator_mutex_);
    coordinator_ = nullptr;
  }
  if (server_ != nullptr) server_->SendToAll({kShutdownFrame, ""});
  if (status.ok()) return {};
  if (absl::IsUnavailable(status)) return {status, kLostRank};
  return {status, absl::IsInvalidArgument(status) ? kBadArguments : kFailed};
}

void Job::StartMetrics(ServingMetrics& metrics, Coordinator& coordinator) {
  coordinator.UseMetrics(&metrics);
  wire_board_ = std::make_unique<WireByteBoard>(grid_, hosts_);
  metrics.SetInfo({{"tp", absl::StrCat(grid_.tp)},
                   {"pp", absl::StrCat(grid_.pp)},
                   {"wire", options_.wire},
                   {"kv_cache", options_.kv_cache},
                   {"device", cuda_ ? "cuda" : "cpu"},
                   {"version", TERNION_VERSION}});
  metrics.BeforeScrape([this, &coordinator](ServingMetrics& scraped) {
    scraped.SetScheduler(coordinator.stats());
    wire_board_->Set(0, engine_->wire_bytes().Read());
    wire_board_->Show(scraped);
    scraped.SetRank(0, true, 0);
    for (int rank = 1; rank < grid_.size(); ++rank) {
      const auto silent = server_->SilentFor(rank);
      const std::chrono::duration<double> seconds = silent.value_or(std::chrono::nanoseconds(0));
      scraped.SetRank(rank, silent.has_value(), seconds.count());
    }
  });
}

Job::Failure Job::RunWorker() {
  while (true) {
    TellWireBytes();
    if (const absl::Status told = TellAnswers(); !told.ok()) return Fail(told);
    const absl::StatusOr<std::optional<Frame>> frame = NextFrame();
    if (!frame.ok()) return {frame.status(), kLostRank};
    if (!frame->has_value()) continue;
    if ((*frame)->kind == kShutdownFrame) return {};
    const absl::Status status = [&]() -> absl::Status {
      if ((*frame)->kind != kPlanFrame) {
        return absl::DataLossError(absl::StrCat("unknown frame ", (*frame)->kind));
      }
      TERNION_ASSIGN_OR_RETURN(const StepPlan plan, DecodePlan((*frame)->payload));
      return engine_->Begin(plan);
    }();
    if (!status.ok()) return Fail(status);
  }
}

// What this worker failed with; rank 0 hears of it.
Job::Failure Job::Fail(const absl::Status& status) {
  client_->Send({kErrorFrame, std::string(status.message())});
  return {status, kLostRank};
}

// The answers that have come, to rank 0.
absl::Status Job::TellAnswers() {
  while (engine_->AnswerReady()) {
    TERNION_ASSIGN_OR_RETURN(const StepResult result, engine_->Finish());
    if (grid_.sampler_rank() == grid_.rank) client_->Send({kResultFrame, EncodeResult(result)});
  }
  return absl::OkStatus();
}

void Job::TellWireBytes() {
  const auto now = std::chrono::steady_clock::now();
  if (now - told_at_ < kWireBytesInterval) return;
  const WireCount count = engine_->wire_bytes().Read();
  if (count == told_bytes_) return;
  told_bytes_ = count;
  told_at_ = now;
  client_->Send({kWireBytesFrame, EncodeWireCount(count)});
}

absl::StatusOr<std::optional<Frame>> Job::NextFrame() {
  // A device at work: its answer is looked for all the time, since the next step waits for it.
  if (engine_->has_begun()) {
    std::this_thread::yield();
    return client_->NextWithin(std::chrono::microseconds(0));
  }
  TERNION_ASSIGN_OR_RETURN(const bool moving, engine_->Progress());
  if (moving) return client_->NextWithin(kProgressInterval);
  if (engine_->wire_bytes().Read() != told_bytes_) return client_->NextWithin(kWireBytesInterval);
  TERNION_ASSIGN_OR_RETURN(Frame frame, client_->Next());
  return std::optional<Frame>(std::move(frame));
}

void Job::OnFrame(int rank, const Frame& frame) {
  std::lock_guard lock(coordinator_mutex_);
  if (coordinator_ == nullptr) return;
  if (frame.kind == kErrorFrame) {
    return coordinator_->OnFailure(
        absl::UnavailableError(absl::StrCat("rank ", rank, " failed: ", frame.payload)));
  }
  if (frame.kind == kWireBytesFrame) {
    const std::optional<WireCount> count = DecodeWireCount(frame.payload);
    if (wire_board_ != nullptr && count.has_value()) wire_board_->Set(rank, *count);
    return;
  }
  absl::StatusOr<StepResult> result = DecodeResult(frame.payload);
  if (frame.kind == kResultFrame && result.ok()) return coordinator_->OnResult(*std::move(result));
  coordinator_->OnFailure(absl::UnavailableError(absl::StrCat("rank ", rank, " sent a malformed frame")));
}

// The engine's thread may wait for the lost rank inside MPI or NCCL for ever, so the process ends from here.
void Job::OnLost(int rank, const absl::Status& why) {
  std::lock_guard lock(coordinator_mutex_);
  if (coordinator_ == nullptr) return;
  PrintError(absl::UnavailableError(absl::StrCat("rank ", rank, " was lost: ", why.message())));
  TellStatusAndExit(kLostRank);
}

WireTotals Job::SumWireBytes() const {
  const WireCount mine = engine_->wire_bytes().Read();
  WireTotals totals;
  for (const std::string& text :
       mpi_.AllGatherStrings(absl::StrCat(mine.reduce, " ", mine.gather, " ", mine.pipeline))) {
    const std::vector<std::string> fields = absl::StrSplit(text, ' ');
    totals.reduce += std::strtoll(fields[0].c_str(), nullptr, 10);
    totals.gather += std::strtoll(fields[1].c_str(), nullptr, 10);
    totals.pipeline += std::strtoll(fields[2].c_str(), nullptr, 10);
  }
  return totals;
}

}  // namespace ternion
