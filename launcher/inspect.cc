#include <algorithm>
#include <cstdio>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "kernels/device_memory_query.h"
#include "kernels/status.h"
#include "launcher/commands.h"
#include "launcher/host.h"
#include "launcher/inspect_model.h"
#include "launcher/inspect_tensors.h"
#include "launcher/job.h"
#include "launcher/kv_memory.h"
#include "launcher/model.h"
#include "launcher/options.h"
#include "runtime/cache/kv_cache.h"
#include "runtime/model/workspace.h"

namespace ternion {
namespace {

struct InspectOptions {
  JobOptions job;
  bool tensors = false;
  bool json = false;
};

double MiB(int64_t bytes) { return static_cast<double>(bytes) / (1 << 20); }

// Bytes that rank `rank` may take, if all ranks run here.
absl::StatusOr<int64_t> AvailableMemory(const JobOptions& options, bool cuda, int rank) {
  if (!cuda) return AvailableHostMemory() / (options.tp * options.pp);
  TERNION_ASSIGN_OR_RETURN(const DeviceMemory memory, QueryCudaMemory(rank % std::max(1, CudaDeviceCount())));
  return memory.free_bytes;
}

// Tokens that fit into the cache of the rank that has least room, if all ranks run here.
absl::StatusOr<int64_t> TokensThatFit(const JobOptions& options, const ModelConfig& config, KvFormat format,
                                      bool cuda) {
  int64_t blocks = std::numeric_limits<int64_t>::max();
  for (int rank = 0; rank < options.tp * options.pp; ++rank) {
    int64_t available = 0;
    if (options.kv_memory == "auto") {
      TERNION_ASSIGN_OR_RETURN(available, AvailableMemory(options, cuda, rank));
    }
    TERNION_ASSIGN_OR_RETURN(const int64_t fit,
                             KvBlocksThatFit(config, {options.tp, options.pp, rank}, format,
                                             {options.kv_memory, cuda, available, options.max_batch_tokens}));
    blocks = std::min(blocks, fit);
  }
  return blocks * kKvBlockTokens;
}

double CacheBytesPerToken(const JobOptions& options, const ModelConfig& config, KvFormat format) {
  int64_t block_bytes = 0;
  for (int rank = 0; rank < options.tp * options.pp; ++rank) {
    block_bytes += KvBlockBytes(config, {options.tp, options.pp, rank}, format);
  }
  return static_cast<double>(block_bytes) / kKvBlockTokens;
}

absl::Status PrintCache(const JobOptions& options, const ModelConfig& config, KvFormat format, bool cuda) {
  std::printf("\nKV cache %s: %.1f bytes a token on all ranks together\n", options.kv_cache.c_str(),
              CacheBytesPerToken(options, config, format));
  const absl::StatusOr<int64_t> tokens = TokensThatFit(options, config, format, cuda);
  if (absl::IsInvalidArgument(tokens.status())) return tokens.status();
  if (!tokens.ok()) {
    std::printf("tokens that fit are not known: %s\n", std::string(tokens.status().message()).c_str());
    return absl::OkStatus();
  }
  const int64_t length = options.max_model_len > 0 ? options.max_model_len : config.max_positions;
  const int64_t used = options.max_sequences * BlocksFor(length) * kKvBlockTokens;
  std::printf("%lld tokens fit (--kv-memory %s); %lld sequences of %lld take up to %lld\n",
              static_cast<long long>(*tokens), options.kv_memory.c_str(),
              static_cast<long long>(options.max_sequences), static_cast<long long>(length),
              static_cast<long long>(used));
  return absl::OkStatus();
}

// What all that tells of ranks needs.
struct Grid {
  KvFormat format = KvFormat::kF16;
  bool cuda = false;
};

absl::StatusOr<Grid> CheckGrid(const JobOptions& options, const ModelConfig& config) {
  Grid grid;
  TERNION_RETURN_IF_ERROR(CheckSharding(config.shape, options.tp, options.pp));
  TERNION_ASSIGN_OR_RETURN(grid.format, ParseKvFormat(options.kv_cache));
  TERNION_RETURN_IF_ERROR(CheckKvFormat(grid.format, config.shape.head_dim));
  grid.cuda = options.device == "cuda" || (options.device == "auto" && CudaDeviceCount() > 0);
  return grid;
}

void PrintRank(const JobOptions& options, const ModelConfig& config, const Grid& how, int rank) {
  const ProcessGrid grid{options.tp, options.pp, rank};
  const LayerShard shard = ShardLayer(config.shape, options.tp, grid.tp_rank());
  const Range layers = StageLayers(config.shape, options.pp, grid.stage());
  const WeightMemory memory = PredictWeightMemory(config, grid, how.cuda);
  const double token_bytes = static_cast<double>(KvBlockBytes(config, grid, how.format)) / kKvBlockTokens;
  std::printf("%4d %3lld-%-3lld %5d-%-5d %9d %5lld-%-5lld %9.1f %7.1f %11.1f %13.1f %12.1f\n", rank,
              static_cast<long long>(layers.begin), static_cast<long long>(layers.end - 1),
              shard.heads.query_begin, shard.heads.query_begin + shard.heads.query_heads - 1,
              shard.heads.kv_heads, static_cast<long long>(shard.ffn.begin),
              static_cast<long long>(shard.ffn.end - 1), MiB(memory.linear_bytes),
              MiB(memory.embedding_bytes + memory.other_bytes), MiB(memory.total()),
              MiB(Workspace::Bytes(config, shard, options.max_batch_tokens)), token_bytes);
}

absl::Status PrintRanks(const JobOptions& options, const ModelConfig& config, const Grid& grid) {
  std::printf("\ntp %d, pp %d, KV cache %s; MiB of each rank\n", options.tp, options.pp,
              options.kv_cache.c_str());
  std::printf("%4s %7s %11s %9s %11s %9s %7s %11s %13s %12s\n", "rank", "layers", "heads", "kv heads", "ffn",
              "linear", "others", "weights", "activations", "KV B/token");
  for (int rank = 0; rank < options.tp * options.pp; ++rank) PrintRank(options, config, grid, rank);
  return PrintCache(options, config, grid.format, grid.cuda);
}

nlohmann::ordered_json RankJson(const JobOptions& options, const ModelConfig& config, const Grid& how,
                                int rank) {
  const ProcessGrid grid{options.tp, options.pp, rank};
  const LayerShard shard = ShardLayer(config.shape, options.tp, grid.tp_rank());
  const Range layers = StageLayers(config.shape, options.pp, grid.stage());
  const WeightMemory memory = PredictWeightMemory(config, grid, how.cuda);
  return {{"rank", rank},
          {"layers", {layers.begin, layers.end}},
          {"heads", {shard.heads.query_begin, shard.heads.query_begin + shard.heads.query_heads}},
          {"kv_heads", shard.heads.kv_heads},
          {"ffn", {shard.ffn.begin, shard.ffn.end}},
          {"linear_bytes", memory.linear_bytes},
          {"table_bytes", memory.embedding_bytes},
          {"other_bytes", memory.other_bytes},
          {"activation_bytes", Workspace::Bytes(config, shard, options.max_batch_tokens)}};
}

void PrintTensors(const std::vector<TensorEntry>& tensors) {
  std::printf("\n%zu tensors: bytes, file, name, form\n", tensors.size());
  for (const TensorEntry& tensor : tensors) {
    std::printf("%13lld  %s  %s  %s\n", static_cast<long long>(tensor.bytes), tensor.file.c_str(),
                tensor.name.c_str(), tensor.form.c_str());
  }
}

void PrintJson(const InspectOptions& options, const ModelFacts& facts, const ModelConfig& config,
               const Grid& grid, const std::vector<TensorEntry>& tensors) {
  nlohmann::ordered_json json = ModelJson(facts, config);
  json["tp"] = options.job.tp;
  json["pp"] = options.job.pp;
  json["ranks"] = nlohmann::ordered_json::array();
  for (int rank = 0; rank < options.job.tp * options.job.pp; ++rank) {
    json["ranks"].push_back(RankJson(options.job, config, grid, rank));
  }
  json["kv_cache"] = {{"format", options.job.kv_cache},
                      {"bytes_per_token", CacheBytesPerToken(options.job, config, grid.format)}};
  const absl::StatusOr<int64_t> tokens = TokensThatFit(options.job, config, grid.format, grid.cuda);
  if (tokens.ok()) json["kv_cache"]["tokens_that_fit"] = *tokens;
  if (options.tensors) json["tensors"] = nlohmann::ordered_json::array();
  for (const TensorEntry& tensor : tensors) {
    json["tensors"].push_back(
        {{"file", tensor.file}, {"name", tensor.name}, {"form", tensor.form}, {"bytes", tensor.bytes}});
  }
  std::printf("%s\n", json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
}

int Fail(const absl::Status& status, int exit_code) {
  std::fprintf(stderr, "ternion: %s\n", std::string(status.message()).c_str());
  return exit_code;
}

int Inspect(MpiSession& mpi, const InspectOptions& options) {
  if (mpi.rank() != 0) return kDone;
  if (options.job.model.empty() == options.job.synthetic.empty()) {
    return Fail(absl::InvalidArgumentError("name either a MODEL or --synthetic with a config.json"),
                kBadArguments);
  }
  const absl::StatusOr<std::unique_ptr<WeightSource>> source = OpenModel(options.job);
  if (!source.ok()) return Fail(source.status(), kBadModel);
  const ModelConfig& config = (*source)->config();
  std::vector<TensorEntry> tensors;
  if (options.tensors) {
    absl::StatusOr<std::vector<TensorEntry>> list = ListTensors(options.job);
    if (!list.ok()) return Fail(list.status(), kBadModel);
    tensors = *std::move(list);
  }
  const ModelFacts facts = FactsOf(options.job, **source);
  const absl::StatusOr<Grid> grid = CheckGrid(options.job, config);
  if (options.json && grid.ok()) {
    PrintJson(options, facts, config, *grid, tensors);
    return kDone;
  }
  if (!options.json) PrintModel(facts, config);
  const absl::Status printed = grid.ok() ? PrintRanks(options.job, config, *grid) : grid.status();
  if (options.tensors && printed.ok()) PrintTensors(tensors);
  return printed.ok() ? kDone : Fail(printed, kBadArguments);
}

}  // namespace

void AddInspect(CLI::App& app, Command& chosen) {
  CLI::App* command =
      app.add_subcommand("inspect", "config, tensors, and the memory of every rank for a given tp, pp");
  auto options = std::make_shared<InspectOptions>();
  AddJobOptions(*command, options->job);
  command->add_flag("--tensors", options->tensors, "list the tensors of its files too");
  command->add_flag("--json", options->json, "print one JSON object");
  command->callback(
      [options, &chosen] { chosen.run = [options](MpiSession& mpi) { return Inspect(mpi, *options); }; });
}

}  // namespace ternion
