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
#include "runtime/serving/rank_count_board.h"

namespace ternion {
namespace {

constexpr std::chrono::seconds kCountsInterval{1};
constexpr double kRankZeroSeconds = 2;  // to end, beside its linger

int ExitCodeOf(const absl::Status& status) {
  if (status.ok()) return kDone;
  if (absl::IsUnavailable(status)) return kLostRank;
  return absl::IsInvalidArgument(status) ? kBadArguments : kFailed;
}

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
  facts_ = GatherFacts(mpi_, MyFacts());
  return mpi_.rank() == 0 ? RunCoordinator(body) : RunWorker();
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
  if (!status.ok() && end_ != nullptr && coordinator.failed()) EndAfter(status);
  if (body.finish) status = body.finish(status);
  if (body.metrics != nullptr) body.metrics->BeforeScrape(nullptr);
  if (body.status != nullptr) body.status->Answer(nullptr);
  {
    std::lock_guard lock(coordinator_mutex_);
    coordinator_ = nullptr;
  }
  if (server_ != nullptr) server_->SendToAll({kShutdownFrame, ""});
  return {status, ExitCodeOf(status)};
}

// Where a step has failed, other ranks may wait in it for ever.
void Job::EndAfter(const absl::Status& failure) {
  end_->Fail({failure, ExitCodeOf(failure), Milliseconds(options_.lost_rank_linger)});
  JobEnd::Await();
}

ControlServer::Contact Job::ContactWith(int rank) const {
  if (rank == 0) return {/*connected=*/true};
  return server_->ContactWith(rank).value_or(ControlServer::Contact());
}

void Job::StartMetrics(ServingMetrics& metrics, Coordinator& coordinator) {
  coordinator.UseMetrics(&metrics);
  count_board_ = std::make_unique<RankCountBoard>(grid_, hosts_);
  metrics.SetInfo({{"tp", absl::StrCat(grid_.tp)},
                   {"pp", absl::StrCat(grid_.pp)},
                   {"wire", options_.wire},
                   {"kv_cache", options_.kv_cache},
                   {"device", cuda_ ? "cuda" : "cpu"},
                   {"version", TERNION_VERSION}});
  metrics.BeforeScrape([this, &coordinator](ServingMetrics& scraped) {
    scraped.SetScheduler(coordinator.stats());
    count_board_->Set(0, Counts());
    count_board_->Show(scraped);
    for (int rank = 0; rank < grid_.size(); ++rank) {
      const ControlServer::Contact contact = ContactWith(rank);
      const std::chrono::duration<double> seconds = contact.silent_for;
      scraped.SetRank(rank, contact.connected, seconds.count());
    }
  });
}

Job::Failure Job::RunWorker() {
  while (true) {
    TellCounts();
    if (const absl::Status told = TellAnswers(); !told.ok()) Fail(told);
    const absl::StatusOr<std::optional<Frame>> frame = NextFrame();
    if (!frame.ok()) Fail(frame.status());
    if (!frame->has_value()) continue;
    if ((*frame)->kind == kShutdownFrame) return {};
    const absl::Status status = [&]() -> absl::Status {
      if ((*frame)->kind != kPlanFrame) {
        return absl::DataLossError(absl::StrCat("unknown frame ", (*frame)->kind));
      }
      TERNION_ASSIGN_OR_RETURN(const StepPlan plan, DecodePlan((*frame)->payload));
      return engine_->Begin(plan);
    }();
    if (!status.ok()) Fail(status);
  }
}

// What this worker failed with; rank 0 hears of it, tells it, and ends.
void Job::Fail(const absl::Status& status) {
  client_->Send({kErrorFrame, std::string(status.message())});
  JobEnd::Cause cause{status, kLostRank, Milliseconds(options_.lost_rank_linger + kRankZeroSeconds)};
  cause.told = true;
  end_->Fail(std::move(cause));
  JobEnd::Await();
}

// The answers that have come, to rank 0.
absl::Status Job::TellAnswers() {
  while (engine_->AnswerReady()) {
    TERNION_ASSIGN_OR_RETURN(const StepResult result, engine_->Finish());
    if (grid_.sampler_rank() == grid_.rank) client_->Send({kResultFrame, EncodeResult(result)});
  }
  return absl::OkStatus();
}

RankCounts Job::Counts() const { return {engine_->wire_bytes().Read(), engine_->weight_skips()}; }

void Job::TellCounts() {
  const auto now = std::chrono::steady_clock::now();
  if (now - told_at_ < kCountsInterval) return;
  const RankCounts counts = Counts();
  if (counts == told_counts_) return;
  told_counts_ = counts;
  told_at_ = now;
  client_->Send({kCountsFrame, EncodeRankCounts(counts)});
}

absl::StatusOr<std::optional<Frame>> Job::NextFrame() {
  // A device at work: its answer is looked for all the time, since the next step waits for it.
  if (engine_->has_begun()) {
    std::this_thread::yield();
    return client_->NextWithin(std::chrono::microseconds(0));
  }
  TERNION_ASSIGN_OR_RETURN(const bool moving, engine_->Progress());
  if (moving) return client_->NextWithin(kProgressInterval);
  if (Counts() != told_counts_) return client_->NextWithin(kCountsInterval);
  TERNION_ASSIGN_OR_RETURN(Frame frame, client_->Next());
  return std::optional<Frame>(std::move(frame));
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
