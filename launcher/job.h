#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/backend.h"
#include "launcher/job_end.h"
#include "launcher/job_trace.h"
#include "launcher/local_ranks.h"
#include "launcher/options.h"
#include "launcher/output_file.h"
#include "launcher/start_watch.h"
#include "parallel/control_channel.h"
#include "parallel/mpi_session.h"
#include "parallel/process_grid.h"
#include "runtime/model/weights.h"
#include "runtime/serving/coordinator.h"
#include "runtime/serving/engine.h"
#include "runtime/serving/job_status.h"
#include "runtime/serving/rank_count_board.h"
#include "runtime/serving/serving_metrics.h"

namespace ternion {

// Bytes that all ranks sent, by kind.
struct WireTotals {
  int64_t reduce = 0;
  int64_t gather = 0;
  int64_t pipeline = 0;
};

// A run of the program on all ranks of an mpirun, from options to exit status: check, load, connect, serve plans.
// Whatever goes wrong on any rank is told once, by rank 0, and every rank ends with the same exit status.
class Job {
 public:
  // What is known of a job before its weights are loaded.
  struct Plan {
    const ModelConfig& config;
    bool cuda;    // ranks compute on GPUs, else on CPU threads
    int threads;  // of rank 0
  };
  struct Body {
    // On rank 0 before weights are loaded: what can fail early should. May be empty.
    std::function<absl::Status(const Plan& plan)> before_load;
    // Where rank 0 counts what requests and steps do; null: nowhere. Outlives the job.
    ServingMetrics* metrics = nullptr;
    // Where rank 0 answers what the job is and does, with `metrics`; null: nowhere. Outlives the job.
    JobStatusBoard* status = nullptr;
    // On rank 0 when all ranks are ready; starts what feeds the coordinator and returns. Coordinator::Run follows on
    // the same thread.
    std::function<absl::Status(Coordinator& coordinator)> start;
    // On rank 0 when Run has returned: its status in, the job's out. May be empty.
    std::function<absl::Status(const absl::Status& run)> finish;
    // On rank 0 at the very end, with the counters of all ranks. May be empty.
    std::function<void(const WireTotals& totals)> report;
  };

  // Returns the exit status.
  static int Run(MpiSession& mpi, const JobOptions& options, const Body& body);

 private:
  Job(MpiSession& mpi, const JobOptions& options) : mpi_(mpi), options_(options) {}

  // An error and the exit status that it stands for.
  struct Failure {
    absl::Status status;
    int exit_code = kDone;
  };

  Failure RunToEnd(const Body& body);
  Failure Prepare();         // checks options, connects, opens the model, compares ranks
  Failure Load();            // backend, weights
  Failure Build();           // groups, engine
  Failure Connect();         // control channel; from then on a lost rank is noticed
  absl::Status OpenTrace();  // on rank 0, where --trace asks for one
  Failure StartTrace();
  Failure WriteTrace();
  Failure RunRank(const Body& body);  // until the job ends
  Failure RunCoordinator(const Body& body);
  [[noreturn]] void EndAfter(const absl::Status& failure);
  Failure RunWorker();
  absl::Status TellAnswers();
  RankCounts Counts() const;  // this rank's
  // Rank 0 hears of this worker's once a second while they grow.
  void TellCounts();
  [[noreturn]] void Fail(const absl::Status& status);
  // One line on stderr, in the form that every command uses.
  static void PrintError(const absl::Status& status);
  // Connect of rank 0, which tells the others what they need to know, and theirs.
  absl::Status Listen(std::string* invitation);
  absl::Status Join(const std::string& invitation);
  void StopControl();
  absl::Status CheckRankTimeout() const;
  // After which a rank is lost: early enough to linger and to end within --rank-timeout.
  std::chrono::milliseconds SilenceLimit() const;
  std::string NameOf(int rank) const;  // with its host
  void OnRankZeroLost(const absl::Status& why);
  void TellEnd(const JobEnd::Cause& cause);
  [[noreturn]] void EndProcess(const JobEnd::Cause& cause);
  // When all is done: MPI's end waits for every rank, and nothing else is left that would notice a lost one.
  void WatchTheEnd(int exit_code) const;
  // The next frame, or nothing when a worker has to look after its steps first.
  absl::StatusOr<std::optional<Frame>> NextFrame();
  void OnFrame(int rank, const Frame& frame);
  void OnLost(int rank, const absl::Status& why);
  ControlServer::Contact ContactWith(int rank) const;  // on rank 0, with itself too
  void StartMetrics(ServingMetrics& metrics, Coordinator& coordinator);
  RankFacts MyFacts() const;
  JobStatus ReadStatus(const ServingMetrics& metrics, const Coordinator& coordinator) const;
  absl::Status OpenCudaDevice();  // this rank's; sets backend_
  absl::Status ChooseDevice();    // the same kind on all ranks; called by all together
  void ChooseThreads();
  absl::Status ChooseModelLength();
  absl::Status ChooseKvBlocks();
  absl::Status CheckMemory(const WeightMemory& weights) const;
  // Bytes that this rank may take of its device or its host; 0: not known.
  absl::StatusOr<int64_t> AvailableMemory() const;
  absl::Status MakeCommunicators();
  // Lets the ranks of a tensor-parallel group exchange through each other's memory where all groups can; called by all.
  void MakePeers();
  absl::Status CompareRanks() const;
  SchedulerLimits MakeLimits() const;
  WireTotals SumWireBytes() const;
  // Gathers what every rank found; all ranks return the first failure, which says whose it is unless it is rank 0's or
  // everybody's. A step that calls MPI never follows one that may have failed on some ranks alone without this.
  Failure Agree(const Failure& mine) const;

  MpiSession& mpi_;
  JobOptions options_;
  ProcessGrid grid_;
  EngineOptions engine_options_;
  int threads_ = 1;
  bool cuda_ = false;
  std::unique_ptr<WeightSource> source_;
  // Before the backend, so that they go after it: what it has recorded may hold on to them (nccl_communicator.h).
  std::unique_ptr<Communicator> group_;
  std::unique_ptr<Communicator> column_;
  std::unique_ptr<Backend> backend_;
  StageWeights weights_;  // between Load and Build
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<OutputFile> trace_file_;       // between OpenTrace and StartTrace
  std::unique_ptr<JobTrace> trace_;              // where one is written
  std::vector<std::string> hosts_;               // of every rank
  std::vector<RankFacts> facts_;                 // of every rank
  std::unique_ptr<RankCountBoard> count_board_;  // on rank 0
  RankCounts told_counts_;                       // of a worker, to rank 0
  std::chrono::steady_clock::time_point told_at_;
  std::unique_ptr<ControlServer> server_;
  std::unique_ptr<ControlClient> client_;
  // Set while RunCoordinator runs; the control channel's callbacks reach it through here.
  std::mutex coordinator_mutex_;
  Coordinator* coordinator_ = nullptr;
  std::unique_ptr<StartWatch> start_watch_;  // until the ranks are connected
  std::unique_ptr<LocalRanks> local_ranks_;  // with more than one rank, as end_
  std::unique_ptr<JobEnd> end_;
};

}  // namespace ternion
