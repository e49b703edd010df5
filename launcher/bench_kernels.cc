#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "kernels/backend.h"
#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/read_bandwidth.h"
#include "kernels/device_memory_query.h"
#include "kernels/status.h"
#include "launcher/bench.h"
#include "launcher/bench_matmuls.h"
#include "launcher/bench_weights.h"
#include "launcher/host.h"

namespace ternion {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int64_t kRotatedBytes = int64_t{576} << 20;
constexpr size_t kProbeBytes = size_t{512} << 20;

// Copies of one matrix and inputs for it.
class Bench {
 public:
  Bench(Backend& backend, const KernelBenchOptions& options, int threads)
      : backend_(backend), options_(options), probe_(threads, kProbeBytes) {}

  absl::Status Run(const BenchMatmul& shape) {
    std::vector<PackedTernary> copies;
    for (int64_t done = 0; done < kRotatedBytes; done += shape.outputs * shape.inputs / 4) {
      TERNION_ASSIGN_OR_RETURN(PackedTernary copy,
                               trits_.Pack(backend_, shape.layout, shape.outputs, shape.inputs, 0.5));
      copies.push_back(std::move(copy));
    }
    std::vector<BenchWeights> others;
    for (const std::string& name : shape.density < 1 ? std::vector<std::string>() : options_.weights) {
      TERNION_ASSIGN_OR_RETURN(BenchWeights weights, BenchWeights::Make(backend_, name, shape.outputs,
                                                                        shape.inputs, kRotatedBytes));
      others.push_back(std::move(weights));
    }
    for (int64_t tokens : options_.tokens) {
      if (shape.density < 1 && tokens > 1) continue;
      TERNION_RETURN_IF_ERROR(RunTokens(shape, copies, others, tokens));
    }
    return absl::OkStatus();
  }

  // Gate and up as one operation, one token; kGateDensity of the gates are positive. The bytes are those of both.
  absl::Status RunGated(int64_t ffn, int64_t h) {
    std::vector<PackedTernary> gates;
    std::vector<PackedTernary> ups;
    for (int64_t done = 0; done < kRotatedBytes; done += ffn * h / 2) {
      TERNION_ASSIGN_OR_RETURN(PackedTernary gate,
                               trits_.Pack(backend_, TernaryLayout::kByOutput, ffn, h, kGateDensity));
      TERNION_ASSIGN_OR_RETURN(PackedTernary up,
                               trits_.Pack(backend_, TernaryLayout::kByOutput, ffn, h, 0.5));
      gates.push_back(std::move(gate));
      ups.push_back(std::move(up));
    }
    TERNION_ASSIGN_OR_RETURN(const Buffer codes, backend_.Allocate(h));
    TERNION_ASSIGN_OR_RETURN(const Buffer scales, backend_.Allocate(ffn * 4));
    TERNION_ASSIGN_OR_RETURN(const Buffer out, backend_.Allocate(ffn * 4));
    // Positive inputs, so that a row of the gate that leans to +1 is open and one that leans to -1 is not.
    std::vector<int8_t> host_codes(h);
    for (int8_t& code : host_codes) code = static_cast<int8_t>(1 + random_() % 7);
    const std::vector<float> ones(ffn, 1.0f);
    backend_.CopyFromHost(codes.data(), host_codes.data(), host_codes.size());
    backend_.CopyFromHost(scales.data(), ones.data(), ones.size() * 4);
    const QuantizedRows x{codes.As<int8_t>(1, h), scales.As<float>(1, 1)};
    size_t next = 0;
    const auto one = [&] {
      const size_t i = next++ % gates.size();
      backend_.GatedRelu2(gates[i], ups[i], x, scales.As<const float>(1, ffn), scales.As<const float>(1, ffn),
                          out.As<float>(1, ffn));
    };
    const BenchMatmul both{"gate+up, ReLU^2", TernaryLayout::kByOutput, 2 * ffn, h, kGateDensity};
    const Body body{"", ffn * h / 2, gates.size(), one};
    Print(both, 1, body, Measure({body}).front(), 1);
    return absl::OkStatus();
  }

 private:
  // Something to measure: a call takes the next copy.
  struct Body {
    std::string weights;  // empty: ternary
    int64_t bytes;
    size_t copies;
    std::function<void()> run;
  };

  absl::Status RunTokens(const BenchMatmul& shape, const std::vector<PackedTernary>& copies,
                         const std::vector<BenchWeights>& others, int64_t tokens) {
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
    std::vector<float> floats(tokens * shape.inputs);
    for (float& value : floats)
      value = static_cast<float>(static_cast<int>(random_() % 2001) - 1000) / 1000.0f;
    TERNION_ASSIGN_OR_RETURN(const Buffer x, backend_.Allocate(floats.size() * 4));
    TERNION_ASSIGN_OR_RETURN(const Buffer y, backend_.Allocate(tokens * shape.outputs * 4));
    backend_.CopyFromHost(x.data(), floats.data(), x.bytes());
    std::vector<Body> bodies = {{"", shape.outputs * shape.inputs / 4, copies.size(), one}};
    int64_t turn = 0;
    for (size_t i = 0; i < others.size(); ++i) {
      const BenchWeights& other = others[i];
      bodies.push_back({options_.weights[i], other.bytes(), static_cast<size_t>(other.copies()), [&, i] {
                          others[i].Multiply(backend_, turn++, x.As<const float>(tokens, shape.inputs),
                                             y.As<float>(tokens, shape.outputs));
                        }});
    }
    const std::vector<Measured> measured = Measure(bodies);
    for (size_t i = 0; i < bodies.size(); ++i) {
      Print(shape, tokens, bodies[i], measured[i], measured[i].seconds / measured[0].seconds);
    }
    return absl::OkStatus();
  }

  // Medians of what was measured in turns.
  struct Measured {
    double seconds;
    double read_rate;  // bytes a second
  };

  // The bodies take turns. A measurement runs over all copies, or as many as fill a tenth of a second; the read rate is taken
  // before each.
  std::vector<Measured> Measure(const std::vector<Body>& bodies) {
    for (const Body& body : bodies) {
      for (size_t i = 0; i < body.copies && i < 64; ++i) body.run();
    }
    std::vector<std::vector<double>> seconds(bodies.size()), rates(bodies.size());
    for (int i = 0; i < options_.repetitions; ++i) {
      for (size_t k = 0; k < bodies.size(); ++k) {
        rates[k].push_back(probe_.Measure());
        seconds[k].push_back(SecondsOf(bodies[k]));
      }
    }
    std::vector<Measured> measured;
    for (size_t k = 0; k < bodies.size(); ++k) measured.push_back({Median(seconds[k]), Median(rates[k])});
    return measured;
  }

  static double SecondsOf(const Body& body) {
    size_t runs = 0;
    const Clock::time_point begin = Clock::now();
    double passed = 0;
    while (runs < body.copies && passed < 0.1) {
      body.run();
      ++runs;
      passed = std::chrono::duration<double>(Clock::now() - begin).count();
    }
    return passed / static_cast<double>(runs);
  }

  static double Median(std::vector<double>& values) {
    std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
    return values[values.size() / 2];
  }

  // `ratio`: the time by the ternary matmul's.
  void Print(const BenchMatmul& shape, int64_t tokens, const Body& body, const Measured& measured,
             double ratio) const {
    const double rate = static_cast<double>(body.bytes) / measured.seconds;
    const double operations = 2.0 * static_cast<double>(shape.outputs * shape.inputs * tokens);
    const std::string name = body.weights.empty() ? shape.name : absl::StrFormat("  %s", body.weights);
    std::printf("%-16s %13s %6lld %8.0f %% %11.1f %9.2f %9.2f %7.0f %% %9.2f", name.c_str(),
                absl::StrFormat("%d x %d", shape.outputs, shape.inputs).c_str(),
                static_cast<long long>(tokens), 100 * shape.density, measured.seconds * 1e6, rate / 1e9,
                measured.read_rate / 1e9, 100 * rate / measured.read_rate,
                operations / measured.seconds / 1e12);
    if (!options_.weights.empty()) std::printf(" %9.2f", ratio);
    std::printf("\n");
    std::fflush(stdout);
  }

  Backend& backend_;
  const KernelBenchOptions& options_;
  cpu::ReadProbe probe_;
  RandomTernary trits_;
  std::minstd_rand random_{1};
};

absl::Status RunAll(const KernelBenchOptions& options, int threads) {
  TERNION_ASSIGN_OR_RETURN(const BenchLayer layer, OpenBenchLayer(options));
  const std::unique_ptr<Backend> backend = MakeCpuBackend(threads);
  std::printf("%scpu (%s), %d threads; reads measured in turns with each row\n", layer.title.c_str(),
              std::string(cpu::IsaName(cpu::DetectIsa())).c_str(), threads);
  std::printf("%-16s %13s %6s %10s %11s %9s %9s %9s %9s%s\n", "matmul", "outputs x in", "tokens", "non-zero",
              "us", "GB/s", "read GB/s", "of read", "TOP/s", options.weights.empty() ? "" : "   ternary");
  Bench bench(*backend, options, threads);
  for (const BenchMatmul& matmul : layer.matmuls) TERNION_RETURN_IF_ERROR(bench.Run(matmul));
  if (layer.gated_unit.has_value() && layer.gated_unit->activation == Activation::kRelu2) {
    TERNION_RETURN_IF_ERROR(bench.RunGated(layer.gated_unit->channels, layer.gated_unit->inputs));
  }
  return absl::OkStatus();
}

}  // namespace

int BenchKernels(MpiSession& mpi, const KernelBenchOptions& options) {
  StartLogging(options.job, mpi.rank());
  const CoreShare share = ShareCores(mpi);
  const int threads = options.job.threads > 0 ? options.job.threads : std::max(1, share.cores / share.ranks);
  if (mpi.rank() != 0) return kDone;
  const bool cuda = options.job.device == "cuda" || (options.job.device == "auto" && CudaDeviceCount() > 0);
  const absl::Status status = cuda ? BenchCudaKernels(options) : RunAll(options, threads);
  if (status.ok()) return kDone;
  std::fprintf(stderr, "ternion: %s\n", std::string(status.message()).c_str());
  return kFailed;
}

}  // namespace ternion
