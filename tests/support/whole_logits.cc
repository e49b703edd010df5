#include "tests/support/whole_logits.h"

#include <memory>
#include <numeric>
#include <utility>

#include "kernels/backend.h"
#include "kernels/status.h"
#include "parallel/communicator.h"
#include "runtime/cache/kv_cache.h"
#include "runtime/serving/engine.h"

namespace ternion {

absl::StatusOr<std::vector<float>> WholeLogits(WeightSource& source, const std::vector<int32_t>& ids) {
  return WholeLogits(source, ids, *MakeCpuBackend(1), KvFormat::kF32);
}

absl::StatusOr<std::vector<float>> WholeLogits(WeightSource& source, const std::vector<int32_t>& ids,
                                               Backend& backend, KvFormat kv_format) {
  const ModelConfig& config = source.config();
  const auto tokens = static_cast<int64_t>(ids.size());
  const auto solo = MakeSoloCommunicator();
  TERNION_ASSIGN_OR_RETURN(StageWeights weights, source.Load({}, backend, [](double) {}));
  TERNION_ASSIGN_OR_RETURN(const auto cache,
                           KvCache::Create(backend, kv_format, /*query_bits=*/0, config.shape.layers,
                                           BlocksFor(tokens), weights.shard.heads));
  EngineOptions options;
  options.kv_blocks = 1;
  TERNION_ASSIGN_OR_RETURN(const auto engine,
                           Engine::Create(config, std::move(weights), {}, options, backend, *solo, *solo));
  std::vector<int32_t> blocks(static_cast<size_t>(BlocksFor(tokens)));
  std::iota(blocks.begin(), blocks.end(), 0);
  const KvSlice slice{0, tokens, 0, blocks};
  TERNION_RETURN_IF_ERROR(engine->stage().Forward(ids, absl::MakeConstSpan(&slice, 1), *cache));
  std::vector<LogitsRequest> requests(ids.size());
  for (size_t i = 0; i < requests.size(); ++i) {
    requests[i].row = static_cast<int32_t>(i);
    requests[i].whole = true;
  }
  std::vector<float> logits;
  const auto take = [&](int64_t, absl::Span<const float> row) {
    logits.insert(logits.end(), row.begin(), row.end());
  };
  TERNION_RETURN_IF_ERROR(engine->stage().BeginLogits(tokens, requests, take));
  return logits;
}

}  // namespace ternion
