#include "launcher/rank_facts.h"

#include <fstream>

#include "kernels/check.h"
#include "kernels/device_memory_query.h"
#include "launcher/host.h"
#include "launcher/job.h"
#include "launcher/kv_memory.h"
#include "nlohmann/json.hpp"
#include "runtime/cache/kv_cache.h"

namespace ternion {

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(RankFacts, host, device, threads, first_layer, layers, weight_bytes,
                                   kv_bytes, resident_bytes)

std::vector<RankFacts> GatherFacts(const MpiSession& mpi, const RankFacts& mine) {
  std::vector<RankFacts> facts;
  const std::string text =
      nlohmann::json(mine).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  for (const std::string& one : mpi.AllGatherStrings(text)) {
    const nlohmann::json json = nlohmann::json::parse(one, nullptr, /*allow_exceptions=*/false);
    CHECK(json.is_object(), "ranks tell their facts as JSON");
    facts.push_back(json.get<RankFacts>());
  }
  return facts;
}

std::string ProcessorName() {
  std::ifstream file("/proc/cpuinfo");
  constexpr std::string_view kKey = "model name";
  for (std::string line; std::getline(file, line);) {
    if (line.compare(0, kKey.size(), kKey) != 0) continue;
    const size_t colon = line.find(':');
    const size_t begin = colon == std::string::npos ? colon : line.find_first_not_of(" \t", colon + 1);
    if (begin != std::string::npos) return line.substr(begin);
  }
  return "CPU";
}

RankFacts Job::MyFacts() const {
  const ModelConfig& config = source_->config();
  const Range layers = StageLayers(config.shape, grid_.pp, grid_.stage());
  RankFacts facts;
  facts.host = mpi_.host();
  facts.device = cuda_ ? CudaDeviceName(mpi_.local_rank()) : ProcessorName();
  facts.threads = cuda_ ? 0 : threads_;
  facts.first_layer = static_cast<int>(layers.begin);
  facts.layers = static_cast<int>(layers.size());
  facts.weight_bytes = PredictWeightMemory(config, grid_, cuda_).total();
  facts.kv_bytes = engine_options_.kv_blocks * KvBlockBytes(config, grid_, engine_options_.kv_format);
  facts.resident_bytes = ResidentBytes();
  return facts;
}

JobStatus Job::ReadStatus(const ServingMetrics& metrics, const Coordinator& coordinator) const {
  JobStatus status;
  status.grid = grid_;
  status.wire = options_.wire;
  status.pipeline_wire = options_.pipeline_wire;
  status.kv_cache = options_.kv_cache;
  status.device = cuda_ ? "cuda" : "cpu";
  status.block_tokens = kKvBlockTokens;
  status.scheduler = coordinator.stats();
  status.prompt_tokens = metrics.prompt_tokens();
  status.generated_tokens = metrics.generated_tokens();
  for (int rank = 0; rank < grid_.size(); ++rank) {
    const ControlServer::Contact contact = ContactWith(rank);
    const std::chrono::duration<double> seconds = contact.silent_for;
    status.ranks.push_back({facts_[static_cast<size_t>(rank)], contact.connected, seconds.count()});
  }
  return status;
}

}  // namespace ternion
