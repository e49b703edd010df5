#include <algorithm>
#include <cstdio>
#include <limits>
#include <memory>
#include <string>

#include "absl/strings/str_format.h"
#include "kernels/device_memory_query.h"
#include "kernels/status.h"
#include "launcher/commands.h"
#include "launcher/host.h"
#include "launcher/job.h"
#include "launcher/kv_memory.h"
#include "launcher/model.h"
#include "launcher/options.h"
#include "runtime/cache/kv_cache.h"
#include "runtime/model/workspace.h"

namespace ternion {
namespace {

double MiB(int64_t bytes) { return static_cast<double>(bytes) / (1 << 20); }

// Ternary weights of the whole model.
int64_t TernaryParameters(const ModelShape& shape) {
  const int64_t attention = int64_t{shape.heads} * shape.head_dim;
  const int64_t kv = int64_t{shape.kv_heads} * shape.head_dim;
  return shape.layers * (shape.hidden * (2 * attention + 2 * kv) + 3 * shape.hidden * shape.ffn);
}

void PrintModel(const JobOptions& options, const WeightSource& source) {
  const ModelConfig& config = source.config();
  const ModelShape& shape = config.shape;
  const int64_t dense = shape.vocab * shape.hidden * (config.tied_embeddings ? 1 : 2);
  std::printf("model            %s\n", options.ModelName().c_str());
  std::printf("digest           %s\n", source.Digest().c_str());
  std::printf("layers           %d\n", shape.layers);
  std::printf("hidden, ffn      %lld, %lld\n", static_cast<long long>(shape.hidden),
              static_cast<long long>(shape.ffn));
  std::printf("heads            %d of %d channels, %d for keys and values\n", shape.heads, shape.head_dim,
              shape.kv_heads);
  std::printf("vocabulary       %lld, %s\n", static_cast<long long>(shape.vocab),
              config.tied_embeddings ? "head tied to the embedding" : "head of its own");
  std::printf("positions        %lld\n", static_cast<long long>(config.max_positions));
  std::printf("quantization     ternary weights (%s), %s inputs%s\n",
              config.weight_form == WeightForm::kOffline ? "packed" : "quantized when loaded",
              config.input == InputQuantization::kInt4 ? "INT4" : "INT8",
              config.attention_topk < 1
                  ? absl::StrFormat(", %.0f %% of o_proj's inputs kept", 100 * config.attention_topk).c_str()
                  : "");
  std::printf("feed-forward     %s%s\n", config.activation == Activation::kRelu2 ? "ReLU^2" : "SiLU",
              config.sub_norms() ? ", sub-norms" : "");
  std::printf("parameters       %.1f M ternary, %.1f M in bfloat16\n",
              static_cast<double>(TernaryParameters(shape)) / 1e6, static_cast<double>(dense) / 1e6);
}

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

absl::Status PrintCache(const JobOptions& options, const ModelConfig& config, KvFormat format, bool cuda) {
  int64_t block_bytes = 0;
  for (int rank = 0; rank < options.tp * options.pp; ++rank) {
    block_bytes += KvBlockBytes(config, {options.tp, options.pp, rank}, format);
  }
  std::printf("\nKV cache %s: %.1f bytes a token on all ranks together\n", options.kv_cache.c_str(),
              static_cast<double>(block_bytes) / kKvBlockTokens);
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

absl::Status PrintRanks(const JobOptions& options, const ModelConfig& config) {
  TERNION_RETURN_IF_ERROR(CheckSharding(config.shape, options.tp, options.pp));
  TERNION_ASSIGN_OR_RETURN(const KvFormat format, ParseKvFormat(options.kv_cache));
  TERNION_RETURN_IF_ERROR(CheckKvFormat(format, config.shape.head_dim));
  std::printf("\ntp %d, pp %d, KV cache %s; MiB of each rank\n", options.tp, options.pp,
              options.kv_cache.c_str());
  std::printf("%4s %7s %11s %9s %11s %9s %7s %11s %13s %12s\n", "rank", "layers", "heads", "kv heads", "ffn",
              "ternary", "dense", "weights", "activations", "KV B/token");
  const bool cuda = options.device == "cuda" || (options.device == "auto" && CudaDeviceCount() > 0);
  for (int rank = 0; rank < options.tp * options.pp; ++rank) {
    const ProcessGrid grid{options.tp, options.pp, rank};
    const LayerShard shard = ShardLayer(config.shape, options.tp, grid.tp_rank());
    const Range layers = StageLayers(config.shape, options.pp, grid.stage());
    const WeightMemory memory = PredictWeightMemory(config, grid, cuda);
    const double token_bytes = static_cast<double>(KvBlockBytes(config, grid, format)) / kKvBlockTokens;
    std::printf("%4d %3lld-%-3lld %5d-%-5d %9d %5lld-%-5lld %9.1f %7.1f %11.1f %13.1f %12.1f\n", rank,
                static_cast<long long>(layers.begin), static_cast<long long>(layers.end - 1),
                shard.heads.query_begin, shard.heads.query_begin + shard.heads.query_heads - 1,
                shard.heads.kv_heads, static_cast<long long>(shard.ffn.begin),
                static_cast<long long>(shard.ffn.end - 1), MiB(memory.linear_bytes),
                MiB(memory.embedding_bytes + memory.other_bytes), MiB(memory.total()),
                MiB(Workspace::Bytes(config, shard, options.max_batch_tokens)), token_bytes);
  }
  return PrintCache(options, config, format, cuda);
}

int Fail(const absl::Status& status, int exit_code) {
  std::fprintf(stderr, "ternion: %s\n", std::string(status.message()).c_str());
  return exit_code;
}

int Inspect(MpiSession& mpi, const JobOptions& options) {
  if (mpi.rank() != 0) return kDone;
  if (options.model.empty() == options.synthetic.empty()) {
    return Fail(absl::InvalidArgumentError("name either a MODEL or --synthetic with a config.json"),
                kBadArguments);
  }
  const absl::StatusOr<std::unique_ptr<WeightSource>> source = OpenModel(options);
  if (!source.ok()) return Fail(source.status(), kBadModel);
  PrintModel(options, **source);
  const absl::Status printed = PrintRanks(options, (*source)->config());
  return printed.ok() ? kDone : Fail(printed, kBadArguments);
}

}  // namespace

void AddInspect(CLI::App& app, Command& chosen) {
  CLI::App* command =
      app.add_subcommand("inspect", "config, and the memory of every rank for a given tp, pp");
  auto options = std::make_shared<JobOptions>();
  AddJobOptions(*command, *options);
  command->callback(
      [options, &chosen] { chosen.run = [options](MpiSession& mpi) { return Inspect(mpi, *options); }; });
}

}  // namespace ternion
