#include "launcher/job.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "kernels/device_memory_query.h"
#include "kernels/status.h"
#include "launcher/host.h"
#include "launcher/kv_memory.h"
#include "launcher/model.h"
#include "launcher/told_status.h"
#include "parallel/nccl_communicator.h"

namespace ternion {
namespace {

// See SchedulerLimits::least_share. Measured at pp 2, 2B: half a prompt of 512 tokens takes a GPU 0.78 of the whole's time.
constexpr int64_t kLeastShareOfCpu = 64;
constexpr int64_t kLeastShareOfGpu = 512;

}  // namespace

int Job::Run(MpiSession& mpi, const JobOptions& options, const Body& body) {
  Job job(mpi, options);
  const Failure failure = job.RunToEnd(body);
  job.StopControl();
  job.WatchTheEnd(failure.exit_code);
  return failure.exit_code;
}

// The control channel comes early and goes last: until then a lost rank ends the job, wherever the others wait for it.
Job::Failure Job::RunToEnd(const Body& body) {
  // More than Connect takes, whose errors say more.
  if (mpi_.size() > 1)
    start_watch_ = std::make_unique<StartWatch>(std::chrono::seconds(45), "not all ranks are connected");
  Failure failure = Prepare();
  if (failure.status.ok() && body.before_load) {
    const Plan plan{source_->config(), cuda_, threads_};
    failure = Agree({mpi_.rank() == 0 ? body.before_load(plan) : absl::OkStatus(), kBadArguments});
  }
  if (failure.status.ok()) failure = Agree({OpenTrace(), kBadArguments});
  if (failure.status.ok()) failure = Load();
  if (failure.status.ok()) failure = Build();
  if (failure.status.ok()) failure = StartTrace();
  if (failure.status.ok()) failure = RunRank(body);
  failure = Agree(failure);
  const Failure traced = WriteTrace();
  if (failure.status.ok()) failure = traced;
  if (!failure.status.ok() && mpi_.rank() == 0) PrintError(failure.status);
  if (failure.status.ok() && body.report) {
    const WireTotals totals = SumWireBytes();
    if (mpi_.rank() == 0) body.report(totals);
  }
  return failure;
}

void Job::PrintError(const absl::Status& status) {
  std::fprintf(stderr, "ternion: %s\n", std::string(status.message()).c_str());
}

Job::Failure Job::Agree(const Failure& mine) const {
  const std::string message = mine.status.ok() ? "" : absl::StrCat(mine.exit_code, mine.status.message());
  const std::vector<std::string> all = mpi_.AllGatherStrings(message);
  const auto first = std::find_if(all.begin(), all.end(), [](const std::string& m) { return !m.empty(); });
  if (first == all.end()) return {};
  const bool everywhere =
      std::all_of(all.begin(), all.end(), [&](const std::string& m) { return m == *first; });
  const int64_t rank = first - all.begin();
  const std::string who = everywhere || rank == 0 ? "" : absl::StrCat("rank ", rank, ": ");
  return {absl::UnknownError(absl::StrCat(who, first->substr(1))), (*first)[0] - '0'};
}

Job::Failure Job::Prepare() {
  const auto check = [&]() -> absl::Status {
    TERNION_RETURN_IF_ERROR(CheckConvertedGrid(options_));
    TERNION_RETURN_IF_ERROR(CheckWorld(mpi_.size(), options_.tp, options_.pp));
    grid_ = {options_.tp, options_.pp, mpi_.rank()};
    if (options_.model.empty() == options_.synthetic.empty()) {
      return absl::InvalidArgumentError("name either a MODEL or --synthetic with a config.json");
    }
    TERNION_ASSIGN_OR_RETURN(engine_options_.wire, ParseWireFormat(options_.wire));
    TERNION_ASSIGN_OR_RETURN(engine_options_.pipeline_wire, ParseWireFormat(options_.pipeline_wire));
    TERNION_ASSIGN_OR_RETURN(engine_options_.kv_format, ParseKvFormat(options_.kv_cache));
    engine_options_.query_bits = options_.query_bits;
    return CheckRankTimeout();
  };
  Failure failure = Agree({check(), kBadArguments});
  if (!failure.status.ok()) return failure;
  failure = Connect();
  if (!failure.status.ok()) return failure;
  failure = Agree({ChooseDevice(), kBadArguments});
  if (!failure.status.ok()) return failure;

  absl::StatusOr<std::unique_ptr<WeightSource>> source = OpenModel(options_);
  failure = Agree({source.status(), kBadModel});
  if (!failure.status.ok()) return failure;
  source_ = *std::move(source);
  failure = Agree({CompareRanks(), kBadModel});
  if (!failure.status.ok()) return failure;

  failure = Agree({ChooseModelLength(), kBadArguments});
  if (!failure.status.ok()) return failure;
  ChooseThreads();
  failure = Agree({ChooseKvBlocks(), kBadArguments});
  if (!failure.status.ok()) return failure;
  return Agree({CheckMemory(PredictWeightMemory(source_->config(), grid_, cuda_)), kBadArguments});
}

absl::Status Job::ChooseModelLength() {
  const ModelConfig& config = source_->config();
  TERNION_RETURN_IF_ERROR(CheckSharding(config.shape, grid_.tp, grid_.pp));
  if (options_.max_model_len > config.max_positions) {
    return absl::InvalidArgumentError(absl::StrCat("--max-model-len ", options_.max_model_len,
                                                   " is over the ", config.max_positions,
                                                   " positions of the model"));
  }
  engine_options_.max_model_len = options_.max_model_len > 0 ? options_.max_model_len : config.max_positions;
  engine_options_.max_batch_tokens = options_.max_batch_tokens;
  return absl::OkStatus();
}

absl::Status Job::CompareRanks() const {
  const std::vector<std::string> all =
      mpi_.AllGatherStrings(absl::StrCat(TERNION_VERSION, " ", source_->Digest(), " ", mpi_.host()));
  const std::vector<std::string> first = absl::StrSplit(all[0], ' ');
  for (size_t rank = 1; rank < all.size(); ++rank) {
    const std::vector<std::string> other = absl::StrSplit(all[rank], ' ');
    const auto differs = [&](int field) { return other[field] != first[field]; };
    if (differs(0)) {
      return absl::FailedPreconditionError(absl::StrCat("rank ", rank, " on ", other[2], " runs version ",
                                                        other[0], ", rank 0 runs ", first[0]));
    }
    if (differs(1)) {
      return absl::FailedPreconditionError(
          absl::StrCat("rank ", rank, " on ", other[2], " has another model than rank 0: digest ", other[1],
                       " instead of ", first[1], "; give every host the same files"));
    }
  }
  return absl::OkStatus();
}

absl::Status Job::OpenCudaDevice() {
  if (options_.device == "cpu") return absl::UnavailableError("--device is cpu there");
  const int devices = CudaDeviceCount();
  if (devices > 0 && devices < mpi_.local_size()) {
    return absl::UnavailableError(absl::StrCat(mpi_.local_size(), " ranks on ", mpi_.host(), " but ", devices,
                                               " CUDA device", devices == 1 ? "" : "s",
                                               "; start one rank a device there"));
  }
  TERNION_ASSIGN_OR_RETURN(backend_, MakeCudaBackend(mpi_.local_rank()));
  return absl::OkStatus();
}

// --device auto takes CUDA where every rank has a device of its own, else the CPU; ranks of both kinds would not give the
// same bits.
absl::Status Job::ChooseDevice() {
  const absl::Status mine = OpenCudaDevice();
  const std::vector<std::string> why_not =
      mpi_.AllGatherStrings(std::string(mine.message()));  // empty: it has one
  const std::vector<std::string> hosts = mpi_.AllGatherStrings(mpi_.host());
  const auto first =
      std::find_if(why_not.begin(), why_not.end(), [](const auto& why) { return !why.empty(); });
  cuda_ = first == why_not.end();
  if (!cuda_ && std::count(why_not.begin(), why_not.end(), "") > 0) {
    const int64_t rank = first - why_not.begin();
    return absl::InvalidArgumentError(absl::StrCat(
        "rank ", rank, " on ", hosts[rank], " has no CUDA device of its own, other ranks have one: ", *first,
        "; use --device cpu, or hosts that have a device for each of their ranks"));
  }
  if (!cuda_) {
    if (options_.device != "cuda") return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat("--device cuda: ", mine.message()));
  }
  if (engine_options_.kv_format == KvFormat::kF32) {
    return absl::InvalidArgumentError(
        "--kv-cache f32: CUDA has f16 and the packed formats; use --kv-cache f16 or --device cpu");
  }
  if (mpi_.size() > 1 && !HasNccl()) {
    return absl::InvalidArgumentError(
        absl::StrCat(mpi_.size(), " ranks on CUDA devices need NCCL, which this build does not have; ",
                     "build it with NCCL, or use --device cpu"));
  }
  return absl::OkStatus();
}

void Job::ChooseThreads() {
  if (cuda_) return;
  const CoreShare share = ShareCores(mpi_);
  threads_ = options_.threads > 0 ? options_.threads : std::max(1, share.cores / share.ranks);
  if (threads_ * share.ranks > share.cores && share.first) {
    spdlog::warn("{} ranks of {} threads share {} cores of {}: they will wait for each other", share.ranks,
                 threads_, share.cores, mpi_.host());
  }
}

absl::Status Job::ChooseKvBlocks() {
  const auto fit = [&]() -> absl::StatusOr<int64_t> {
    TERNION_RETURN_IF_ERROR(CheckKvFormat(engine_options_.kv_format, source_->config().shape.head_dim));
    TERNION_ASSIGN_OR_RETURN(const int64_t available, AvailableMemory());
    return KvBlocksThatFit(source_->config(), grid_, engine_options_.kv_format,
                           {options_.kv_memory, cuda_, available, engine_options_.max_batch_tokens});
  };
  const absl::StatusOr<int64_t> mine = fit();
  int64_t blocks =
      std::min(mine.value_or(0), options_.max_sequences * BlocksFor(engine_options_.max_model_len));
  // The rank that has least decides for all.
  for (const std::string& other : mpi_.AllGatherStrings(absl::StrCat(blocks))) {
    blocks = std::min<int64_t>(blocks, std::strtoll(other.c_str(), nullptr, 10));
  }
  engine_options_.kv_blocks = blocks;
  return mine.status();
}

absl::StatusOr<int64_t> Job::AvailableMemory() const {
  if (!cuda_) return AvailableHostMemory() / mpi_.local_size();
  TERNION_ASSIGN_OR_RETURN(const DeviceMemory memory, QueryCudaMemory(mpi_.local_rank()));
  return memory.free_bytes;
}

absl::Status Job::CheckMemory(const WeightMemory& weights) const {
  TERNION_ASSIGN_OR_RETURN(const int64_t available, AvailableMemory());
  if (available == 0 || weights.total() <= available) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "rank ", mpi_.rank(), " on ", mpi_.host(), " needs ", weights.total() >> 20,
      " MiB for its weights and ", cuda_ ? "its CUDA device has " : "its share of the memory there is ",
      available >> 20,
      cuda_ ? " MiB free; use more ranks (--tp, --pp)" : " MiB; use more ranks on more hosts (--tp, --pp)"));
}

Job::Failure Job::Load() {
  if (!cuda_) backend_ = MakeCpuBackend(threads_);
  if (mpi_.rank() == 0 && cuda_) {
    spdlog::info("device cuda ({}), {} ranks", CudaDeviceName(mpi_.local_rank()), mpi_.size());
  } else if (mpi_.rank() == 0) {
    spdlog::info("device cpu, {} ranks of {} threads", mpi_.size(), threads_);
  }
  if (mpi_.rank() == 0) LogRounding(*source_);
  ProgressLine progress("loading", mpi_.rank() == 0);
  absl::StatusOr<StageWeights> weights =
      source_->Load(grid_, *backend_, [&](double done) { progress.Show(done); });
  progress.Done();
  if (weights.ok()) weights_ = *std::move(weights);
  return Agree({weights.status(), kBadModel});
}

// A group of one copies nothing, so MPI's serves on every device.
absl::Status Job::MakeCommunicators() {
  auto group = cuda_ && grid_.tp > 1 ? MakeNcclCommunicator(*backend_, mpi_, grid_.stage(), grid_.tp_rank(),
                                                            NcclUse::kCollectives)
                                     : mpi_.Split(grid_.stage(), grid_.tp_rank());
  auto column = cuda_ && grid_.pp > 1 ? MakeNcclCommunicator(*backend_, mpi_, grid_.tp_rank(), grid_.stage(),
                                                             NcclUse::kPointToPoint)
                                      : mpi_.Split(grid_.tp_rank(), grid_.stage());
  TERNION_ASSIGN_OR_RETURN(group_, std::move(group));
  TERNION_ASSIGN_OR_RETURN(column_, std::move(column));
  return absl::OkStatus();
}

Job::Failure Job::Build() {
  const absl::Status connected = MakeCommunicators();
  const auto build = [&]() -> absl::Status {
    TERNION_RETURN_IF_ERROR(connected);
    TERNION_ASSIGN_OR_RETURN(engine_, Engine::Create(source_->config(), std::move(weights_), grid_,
                                                     engine_options_, *backend_, *group_, *column_));
    return absl::OkStatus();
  };
  Failure built = Agree({build(), kFailed});
  if (built.status.ok()) MakePeers();
  const double weights = static_cast<double>(PredictWeightMemory(source_->config(), grid_, cuda_).total());
  const double resident = static_cast<double>(ResidentBytes());
  spdlog::info("rank {}: weights {:.1f} MiB, resident {:.1f} MiB", grid_.rank, weights / (1 << 20),
               resident / (1 << 20));
  return built;
}

void Job::MakePeers() {
  if (!cuda_ || grid_.tp == 1 || grid_.tp > kMostPeers) return;
  const std::vector<std::string> hosts = mpi_.AllGatherStrings(mpi_.host());
  for (size_t rank = 0; rank < hosts.size(); ++rank) {
    if (hosts[rank] == hosts[rank - rank % grid_.tp]) continue;
    if (mpi_.rank() == 0) {
      spdlog::info("tensor-parallel groups span hosts: small exchanges go through NCCL, which takes longer");
    }
    return;
  }
  const auto gather = [&](std::string_view mine) {
    const std::vector<std::string> all = mpi_.AllGatherStrings(mine);
    const auto first = all.begin() + grid_.RankOf(grid_.stage(), 0);
    return std::vector<std::string>(first, first + grid_.tp);
  };
  const ModelShape& shape = source_->config().shape;
  const int64_t width = std::max(int64_t{shape.heads} * shape.head_dim, shape.ffn);
  auto peers = MakeCudaPeerExchange(*backend_, grid_.tp_rank(), grid_.tp, engine_options_.one_shot_tokens,
                                    width, shape.hidden, gather);
  absl::Status shared = Agree({peers.status(), kFailed}).status;
  if (shared.ok()) {
    engine_->UsePeers(*std::move(peers));
    if (grid_.pp == 1) shared = engine_->OpenTable(gather);
  }
  if (!shared.ok() && mpi_.rank() == 0) {
    spdlog::warn("GPUs cannot share all memory ({}): what they cannot goes through NCCL, which takes longer",
                 std::string(shared.message()));
  }
}

SchedulerLimits Job::MakeLimits() const {
  const ModelConfig& config = source_->config();
  SchedulerLimits limits;
  limits.max_model_len = engine_options_.max_model_len;
  limits.max_batch_tokens = engine_options_.max_batch_tokens;
  limits.max_sequences = options_.max_sequences;
  limits.max_queue = options_.max_queue;
  limits.max_queue_time = std::chrono::nanoseconds(static_cast<int64_t>(options_.max_queue_time * 1e9));
  limits.blocks = engine_options_.kv_blocks;
  limits.prefix_caching = !options_.no_prefix_caching;
  limits.vocab = config.shape.vocab;
  limits.micro_batches = options_.micro_batches > 0 ? options_.micro_batches : grid_.pp;
  // The host's part of a step then goes on beside the device's.
  limits.plans_ahead = cuda_ && limits.micro_batches == 1 && engine_->TakesDrawn();
  limits.least_share = cuda_ ? kLeastShareOfGpu : kLeastShareOfCpu;
  limits.eos_ids = config.eos_ids;
  return limits;
}

}  // namespace ternion
