// The job's control channel: connecting the ranks, what comes over it, and the end when one of them is lost.
#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <mutex>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "kernels/status.h"
#include "launcher/host.h"
#include "launcher/job.h"
#include "launcher/told_status.h"
#include "net/http_error.h"

namespace ternion {
namespace {

constexpr std::chrono::seconds kConnectLimit{30};
// What of --rank-timeout is left for the end of all processes: mpirun takes so long to end a job.
constexpr double kEndSeconds = 3;
constexpr double kLeastSilenceSeconds = 1;
constexpr std::chrono::milliseconds kAfterRankZero{500};

// What clients are told of it, too.
absl::Status LostRank(const std::string& message) {
  return WithErrorCode(absl::UnavailableError(message), "rank_lost");
}

}  // namespace

absl::Status Job::CheckRankTimeout() const {
  const double least = options_.lost_rank_linger + kEndSeconds + kLeastSilenceSeconds;
  if (options_.rank_timeout >= least) return absl::OkStatus();
  const std::string linger = options_.lost_rank_linger > 0
                                 ? absl::StrCat(" beside --lost-rank-linger ", options_.lost_rank_linger)
                                 : "";
  return absl::InvalidArgumentError(absl::StrCat("--rank-timeout ", options_.rank_timeout,
                                                 " leaves no time to notice a lost rank and to end", linger,
                                                 "; it must be at least ", least));
}

std::chrono::milliseconds Job::SilenceLimit() const {
  return Milliseconds(options_.rank_timeout - options_.lost_rank_linger - kEndSeconds);
}

std::string Job::NameOf(int rank) const { return absl::StrCat("rank ", rank, " on ", hosts_[rank]); }

Job::Failure Job::Connect() {
  hosts_ = mpi_.AllGatherStrings(mpi_.host());
  if (mpi_.size() == 1) return {};
  local_ranks_ = std::make_unique<LocalRanks>(mpi_);
  end_ = std::make_unique<JobEnd>(JobEnd::Actions{[this](const JobEnd::Cause& cause) { TellEnd(cause); },
                                                  [this](const JobEnd::Cause& cause) { EndProcess(cause); }});
  std::string invitation;
  absl::Status status;
  if (mpi_.rank() == 0) status = Listen(&invitation);
  invitation = mpi_.Broadcast(invitation);
  if (mpi_.rank() != 0 && !invitation.empty()) status = Join(invitation);
  if (mpi_.rank() == 0 && status.ok()) status = server_->WaitForAll(kConnectLimit);
  const Failure failure = Agree({status, kFailed});
  start_watch_.reset();
  return failure;
}

absl::Status Job::Listen(std::string* invitation) {
  const bool one_host = mpi_.local_size() == mpi_.size();
  TERNION_ASSIGN_OR_RETURN(const std::string secret, MakeControlSecret());
  ControlServer::Callbacks callbacks;
  callbacks.on_frame = [this](int rank, Frame frame) { OnFrame(rank, frame); };
  callbacks.on_lost = [this](int rank, absl::Status why) { OnLost(rank, why); };
  TERNION_ASSIGN_OR_RETURN(server_, ControlServer::Listen(one_host ? "127.0.0.1" : "", secret, mpi_.size(),
                                                          callbacks, SilenceLimit()));
  const std::string addresses = one_host ? "127.0.0.1" : HostAddresses();
  *invitation = absl::StrCat(secret, server_->port(), "\n", addresses);
  return absl::OkStatus();
}

absl::Status Job::Join(const std::string& invitation) {
  const std::string secret = invitation.substr(0, 32);
  const std::vector<std::string> lines = absl::StrSplit(invitation.substr(32), '\n');
  const auto port = static_cast<uint16_t>(std::atoi(lines[0].c_str()));
  const auto limit = kConnectLimit / std::max<size_t>(lines.size() - 1, 1);
  absl::Status status = absl::UnavailableError("rank 0 has told no address");
  for (size_t i = 1; i < lines.size() && client_ == nullptr; ++i) {
    const ControlWatch watch{SilenceLimit(), [this](absl::Status why) { OnRankZeroLost(why); }};
    auto client = ControlClient::Connect(lines[i], port, secret, mpi_.rank(), limit, watch);
    status = client.status();
    if (client.ok()) client_ = *std::move(client);
  }
  return status;
}

void Job::StopControl() {
  if (server_ != nullptr) server_->Stop();
  if (client_ != nullptr) client_->Stop();
  end_.reset();
}

void Job::OnFrame(int rank, const Frame& frame) {
  std::lock_guard lock(coordinator_mutex_);
  if (coordinator_ == nullptr) return;
  if (frame.kind == kErrorFrame) {
    const std::string why = absl::StrCat(NameOf(rank), " failed: ", frame.payload);
    return end_->Fail({LostRank(why), kLostRank, Milliseconds(options_.lost_rank_linger)});
  }
  if (frame.kind == kCountsFrame) {
    const std::optional<RankCounts> counts = DecodeRankCounts(frame.payload);
    if (count_board_ != nullptr && counts.has_value()) count_board_->Set(rank, *counts);
    return;
  }
  absl::StatusOr<StepResult> result = DecodeResult(frame.payload);
  if (frame.kind == kResultFrame && result.ok()) return coordinator_->OnResult(*std::move(result));
  const std::string why = absl::StrCat(NameOf(rank), " sent a malformed frame");
  end_->Fail({LostRank(why), kLostRank, Milliseconds(options_.lost_rank_linger)});
}

// On rank 0. A rank that has only fallen silent may be stopped, and live on.
void Job::OnLost(int rank, const absl::Status& why) {
  if (absl::IsCancelled(why)) return;
  std::lock_guard lock(coordinator_mutex_);
  JobEnd::Cause cause{LostRank(absl::StrCat(NameOf(rank), " was lost: ", why.message())), kLostRank};
  if (coordinator_ != nullptr) cause.linger = Milliseconds(options_.lost_rank_linger);
  if (!absl::IsUnavailable(why)) cause.may_live = rank;
  end_->Lose(std::move(cause));
}

// On another rank, which ends after rank 0 where that ends in order: what starts the job may end all with the first.
void Job::OnRankZeroLost(const absl::Status& why) {
  if (absl::IsAborted(why)) {
    JobEnd::Cause cause{why, kLostRank, Milliseconds(options_.lost_rank_linger) + kAfterRankZero};
    cause.told = true;
    return end_->Lose(std::move(cause));
  }
  JobEnd::Cause cause{absl::UnavailableError(
                          absl::StrCat(NameOf(mpi_.rank()), ": ", NameOf(0), " was lost: ", why.message())),
                      kLostRank};
  cause.told = mpi_.local_rank() != (hosts_[0] == mpi_.host() ? 1 : 0);  // one line of each host
  if (!absl::IsUnavailable(why)) cause.may_live = 0;
  end_->Lose(std::move(cause));
}

void Job::TellEnd(const JobEnd::Cause& cause) {
  if (!cause.told) PrintError(cause.why);
  if (server_ == nullptr) return;
  server_->SendFailure(std::string(cause.why.message()));
  std::lock_guard lock(coordinator_mutex_);
  if (coordinator_ == nullptr) return;
  coordinator_->OnFailure(cause.why);
  coordinator_->TellFailure();
}

// Each host ends its own stopped ranks, which rank 0 may not reach. One rank asks mpirun to end the others: where it lets ranks
// outlive others, it may outlive all of them. `ternion launch` asks it itself, since a rank reaches no more than Open MPI's
// daemon on its host, whose end mpirun takes for a fault and waits.
void Job::EndProcess(const JobEnd::Cause& cause) {
  TellStatus(cause.exit_code);
  local_ranks_->KillStopped();
  const bool out_of_reach = cause.may_live >= 0 && !local_ranks_->Kill(cause.may_live);
  if (!LaunchListens() && !cause.told && (out_of_reach || LauncherRecovers()))
    EndJobByLauncher(/*force=*/out_of_reach);
  std::_Exit(cause.exit_code);
}

void Job::WatchTheEnd(int exit_code) const {
  if (mpi_.size() == 1) return;
  std::thread([rank = mpi_.rank(), exit_code, limit = options_.rank_timeout] {
    std::this_thread::sleep_for(Milliseconds(limit));
    std::fprintf(stderr, "ternion: rank %d waited %g s for the others' end and goes on without it\n", rank,
                 limit);
    TellStatusAndExit(exit_code == kDone ? kLostRank : exit_code);
  }).detach();
}

}  // namespace ternion
