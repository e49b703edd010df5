#include "launcher/bench_matmuls.h"

#include <algorithm>
#include <memory>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "kernels/status.h"
#include "launcher/model.h"

namespace ternion {
namespace {

constexpr size_t kDrawnCodes = 1 << 20;

// The share of down_proj's inputs that a4.8 leaves (docs/numerics.md).
constexpr double kDownDensity = 0.17;

std::vector<BenchMatmul> LayerMatmuls(const ModelConfig& config, const LayerShard& shard) {
  const int64_t h = config.shape.hidden;
  const int64_t attention = shard.attention.size();
  const int64_t qkv = attention + int64_t{2} * shard.heads.kv_heads * shard.heads.head_dim;
  const int64_t ffn = shard.ffn.size();
  std::vector<BenchMatmul> matmuls = {{"qkv", TernaryLayout::kByOutput, qkv, h},
                                      {"o", OutputLayout(config), h, attention},
                                      {"gate or up", TernaryLayout::kByOutput, ffn, h},
                                      {"down", TernaryLayout::kByInput, h, ffn}};
  if (config.attention_topk < 1) {
    matmuls.push_back({"o, top-K", TernaryLayout::kByInput, h, attention, config.attention_topk});
    matmuls.push_back({"down, ReLU^2", TernaryLayout::kByInput, h, ffn, kDownDensity});
  }
  return matmuls;
}

absl::StatusOr<BenchMatmul> ParseShape(const std::string& text) {
  const std::vector<std::string> sides = absl::StrSplit(text, 'x');
  BenchMatmul matmul{"--shape", TernaryLayout::kByOutput, 0, 0};
  if (sides.size() != 2 || !absl::SimpleAtoi(sides[0], &matmul.outputs) ||
      !absl::SimpleAtoi(sides[1], &matmul.inputs) || matmul.outputs < 1 || matmul.inputs < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("--shape ", text, ": a shape is OUTPUTSxINPUTS, such as 6912x2560"));
  }
  return matmul;
}

}  // namespace

absl::StatusOr<BenchLayer> OpenBenchLayer(const KernelBenchOptions& options) {
  BenchLayer layer;
  const bool has_model = !options.job.model.empty() || !options.job.synthetic.empty();
  if (has_model || options.shapes.empty()) {
    TERNION_ASSIGN_OR_RETURN(const auto source, OpenModel(options.job));
    const ModelConfig& config = source->config();
    TERNION_RETURN_IF_ERROR(CheckSharding(config.shape, options.job.tp, options.job.pp));
    const LayerShard shard = ShardLayer(config.shape, options.job.tp, 0);
    layer.title = absl::StrCat(options.job.ModelName(), ", tp ", options.job.tp, ", ");
    layer.matmuls = LayerMatmuls(config, shard);
    layer.gated_unit = BenchGatedUnit{config.activation, shard.ffn.size(), config.shape.hidden};
  }
  for (const std::string& shape : options.shapes) {
    TERNION_ASSIGN_OR_RETURN(BenchMatmul matmul, ParseShape(shape));
    layer.matmuls.push_back(std::move(matmul));
  }
  return layer;
}

RandomTernary::RandomTernary() : drawn_(kDrawnCodes) {
  for (uint8_t& code : drawn_) code = static_cast<uint8_t>(random_() % 3);
}

absl::StatusOr<PackedTernary> RandomTernary::Pack(Backend& backend, TernaryLayout layout, int64_t outputs,
                                                  int64_t inputs, double leaning) {
  // Every fourth code is that of the side a row leans to.
  const auto reader = [&](int64_t, absl::Span<uint8_t> codes) {
    for (size_t done = 0; done < codes.size();) {
      const size_t n = std::min(codes.size() - done, kDrawnCodes / 2);
      const size_t first = random_() % (kDrawnCodes - n);
      std::copy_n(drawn_.begin() + static_cast<int64_t>(first), n, codes.begin() + done);
      done += n;
    }
    const uint8_t side = static_cast<double>(random_() % 10000) < leaning * 10000 ? 2 : 0;
    for (size_t i = 0; i < codes.size(); i += 4) codes[i] = side;
  };
  return backend.PackTernary(layout, outputs, inputs, reader);
}

}  // namespace ternion
