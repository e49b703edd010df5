#pragma once

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "runtime/model/weights.h"
#include "runtime/serving/coordinator.h"
#include "runtime/serving/engine.h"

namespace ternion {

// A whole job as threads of this process: rank 0 is the caller's thread. Plans travel through queues.
class LocalCluster {
 public:
  struct Options {
    int tp = 1;
    int pp = 1;
    int threads = 1;        // of each rank's backend
    int micro_batches = 0;  // plans in flight; 0: as many as stages
    EngineOptions engine;
    int64_t max_sequences = 64;
    bool prefix_caching = true;
    bool plans_ahead = false;  // one rank alone
    bool eos = true;           // whether the model's end-of-sequence ids end a request
  };
  // Everything one request was told.
  struct Completion {
    std::vector<int32_t> tokens;
    std::vector<TokenLogprobs> logprobs;  // of each, where asked for
    std::vector<TokenLogprobs> prompt_logprobs;
    uint64_t logits_hash = 0;
    double negative_log_likelihood = 0;
    std::optional<FinishReason> finish;
    absl::Status status;
  };

  LocalCluster(WeightSource& source, const Options& options);
  ~LocalCluster();

  Coordinator& coordinator() { return *coordinator_; }
  Engine& engine(int rank) { return *ranks_[rank]->engine; }
  // Submits all requests at once and runs them to their ends; one call a cluster.
  std::vector<Completion> Run(std::vector<GenerateRequest> requests);
  // The most plans that were sent and not answered at one time; to be asked when Run has returned.
  int64_t most_in_flight() const { return most_in_flight_; }

 private:
  struct Rank {
    std::unique_ptr<Backend> backend;
    std::unique_ptr<Communicator> group;
    std::unique_ptr<Communicator> column;
    std::unique_ptr<Engine> engine;
    std::deque<std::string> plans;  // encoded, as on the control channel; empty: the end
    std::thread thread;
  };

  void LoadRank(WeightSource& source, const Options& options, int rank);
  void WorkerLoop(int rank);
  void SendToAll(const std::string& plan);
  void CountInFlight(int64_t change);

  std::vector<std::unique_ptr<Rank>> ranks_;
  int sampler_ = 0;
  std::unique_ptr<Coordinator> coordinator_;
  std::mutex mutex_;
  std::condition_variable changed_;
  int64_t in_flight_ = 0;
  int64_t most_in_flight_ = 0;
};

}  // namespace ternion
