#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "kernels/backend.h"
#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/read_bandwidth.h"
#include "kernels/status.h"
#include "launcher/bench.h"
#include "launcher/host.h"
#include "launcher/job.h"

namespace ternion {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int64_t kRotatedBytes = int64_t{576} << 20;
constexpr size_t kBandwidthBytes = size_t{1} << 30;

// One matmul of a layer. `density`: the share of its input codes that are not zero (kByInput), or of its rows
// whose gate is positive (the gated unit); what a4.8's top-K and ReLU^2 leave, docs/numerics.md.
struct Shape {
  std::string name;
  TernaryLayout layout;
  int64_t outputs;
  int64_t inputs;
  double density = 1;
};

std::vector<Shape> LayerShapes(const ModelConfig& config, const LayerShard& shard) {
  const int64_t h = config.shape.hidden;
  const int64_t attention = shard.attention.size();
  const int64_t qkv = attention + int64_t{2} * shard.heads.kv_heads * shard.heads.head_dim;
  const int64_t ffn = shard.ffn.size();
  std::vector<Shape> shapes = {{"qkv", TernaryLayout::kByOutput, qkv, h},
                               {"o", TernaryLayout::kByInput, h, attention},
                               {"gate or up", TernaryLayout::kByOutput, ffn, h},
                               {"down", TernaryLayout::kByInput, h, ffn}};
  if (config.attention_topk < 1) {
    shapes.push_back({"o, top-K", TernaryLayout::kByInput, h, attention, config.attention_topk});
    shapes.push_back({"down, ReLU^2", TernaryLayout::kByInput, h, ffn, 0.17});
  }
  return shapes;
}

// Copies of one matrix and inputs for it.
class Bench {
 public:
  Bench(Backend& backend, const KernelBenchOptions& options, double bandwidth)
      : backend_(backend), options_(options), bandwidth_(bandwidth) {}

  absl::Status Run(const Shape& shape) {
    const int64_t bytes = shape.outputs * shape.inputs / 4;
    std::vector<PackedTernary> copies;
    for (int64_t done = 0; done == 0 || done < kRotatedBytes; done += bytes) {
      const auto reader = [&](int64_t, absl::Span<uint8_t> codes) {
        for (uint8_t& code : codes) code = static_cast<uint8_t>(random_() % 3);
      };
      TERNION_ASSIGN_OR_RETURN(PackedTernary copy,
                               backend_.PackTernary(shape.layout, shape.outputs, shape.inputs, reader));
      copies.push_back(std::move(copy));
    }
    for (int64_t tokens : options_.tokens) {
      if (shape.density < 1 && tokens > 1) continue;
      TERNION_RETURN_IF_ERROR(RunTokens(shape, copies, tokens));
    }
    return absl::OkStatus();
  }

 private:
  absl::Status RunTokens(const Shape& shape, const std::vector<PackedTernary>& copies, int64_t tokens) {
    TERNION_ASSIGN_OR_RETURN(const Buffer codes, backend_.Allocate(tokens * shape.inputs));
    TERNION_ASSIGN_OR_RETURN(const Buffer sums, backend_.Allocate(tokens * shape.outputs * 4));
    std::vector<int8_t> host(tokens * shape.inputs);
    for (int8_t& code : host) {
      const bool zero = static_cast<double>(random_() % 10000) >= shape.density * 10000;
      code = zero ? 0 : static_cast<int8_t>(static_cast<int>(random_() % 254) - 127);
      if (!zero && code == 0) code = 1;
    }
    backend_.CopyFromHost(codes.data(), host.data(), host.size());
    size_t next = 0;
    const auto one = [&] {
      backend_.TernaryMatmul(copies[next++ % copies.size()], codes.As<const int8_t>(tokens, shape.inputs),
                             sums.As<int32_t>(tokens, shape.outputs));
    };
    Print(shape, tokens, MedianSeconds(one, copies.size()));
    return absl::OkStatus();
  }

  // A measurement runs over all copies, or as many as fill a tenth of a second.
  template <typename Body>
  double MedianSeconds(Body body, size_t copies) const {
    for (size_t i = 0; i < copies && i < 64; ++i) body();
    std::vector<double> seconds;
    for (int i = 0; i < options_.repetitions; ++i) {
      size_t runs = 0;
      const Clock::time_point begin = Clock::now();
      double passed = 0;
      while (runs < copies && passed < 0.1) {
        body();
        ++runs;
        passed = std::chrono::duration<double>(Clock::now() - begin).count();
      }
      seconds.push_back(passed / static_cast<double>(runs));
    }
    std::nth_element(seconds.begin(), seconds.begin() + seconds.size() / 2, seconds.end());
    return seconds[seconds.size() / 2];
  }

  void Print(const Shape& shape, int64_t tokens, double seconds) const {
    const double bytes = static_cast<double>(shape.outputs * shape.inputs) / 4;
    const double operations = 2.0 * static_cast<double>(shape.outputs * shape.inputs * tokens);
    std::printf("%-14s %13s %6lld %8.0f %% %11.1f %9.2f %9.0f %% %10.2f\n", shape.name.c_str(),
                absl::StrFormat("%d x %d", shape.outputs, shape.inputs).c_str(),
                static_cast<long long>(tokens), 100 * shape.density, seconds * 1e6, bytes / seconds / 1e9,
                100 * bytes / seconds / bandwidth_, operations / seconds / 1e12);
    std::fflush(stdout);
  }

  Backend& backend_;
  const KernelBenchOptions& options_;
  double bandwidth_;
  std::minstd_rand random_{1};
};

absl::Status RunAll(const KernelBenchOptions& options, int threads) {
  TERNION_ASSIGN_OR_RETURN(const auto source, OpenModel(options.job));
  const ModelConfig& config = source->config();
  TERNION_RETURN_IF_ERROR(CheckSharding(config.shape, options.job.tp, options.job.pp));
  const double bandwidth = cpu::MeasureReadBandwidth(threads, kBandwidthBytes);
  const std::unique_ptr<Backend> backend = MakeCpuBackend(threads);
  std::printf("%s, tp %d, cpu (%s), %d threads; read bandwidth %.2f GB/s\n", options.job.ModelName().c_str(),
              options.job.tp, std::string(cpu::IsaName(cpu::DetectIsa())).c_str(), threads, bandwidth / 1e9);
  std::printf("%-14s %13s %6s %10s %11s %9s %11s %10s\n", "matmul", "outputs x in", "tokens", "non-zero",
              "us", "GB/s", "of limit", "TOP/s");
  Bench bench(*backend, options, bandwidth);
  for (const Shape& shape : LayerShapes(config, ShardLayer(config.shape, options.job.tp, 0))) {
    TERNION_RETURN_IF_ERROR(bench.Run(shape));
  }
  return absl::OkStatus();
}

}  // namespace

int BenchKernels(MpiSession& mpi, const KernelBenchOptions& options) {
  StartLogging(options.job, mpi.rank());
  const CoreShare share = ShareCores(mpi);
  const int threads = options.job.threads > 0 ? options.job.threads : std::max(1, share.cores / share.ranks);
  if (mpi.rank() != 0) return kDone;
  const absl::Status status = RunAll(options, threads);
  if (status.ok()) return kDone;
  std::fprintf(stderr, "ternion: %s\n", std::string(status.message()).c_str());
  return kFailed;
}

}  // namespace ternion
