#include <algorithm>
#include <cstdio>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/strings/str_format.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/graph_timer.h"
#include "kernels/cuda/read_bandwidth.h"
#include "kernels/cuda/vendor_matmul.h"
#include "kernels/status.h"
#include "launcher/bench.h"
#include "launcher/bench_matmuls.h"
#include "launcher/bench_weights.h"

namespace ternion {
namespace {

using cuda::CudaBackend;

// A matrix and copies of it, which take turns.
struct RotatedMatrix {
  std::vector<PackedTernary> copies;

  const PackedTernary& turn(int i) const { return copies[static_cast<size_t>(i) % copies.size()]; }
};

// The step's input and the scales and place of its result.
struct Operands {
  Buffer codes;         // [tokens, inputs]
  Buffer row_scale;     // [tokens]
  Buffer weight_scale;  // [outputs]
  Buffer y;             // [tokens, outputs]
};

class CudaBench {
 public:
  CudaBench(CudaBackend& backend, const KernelBenchOptions& options) : backend_(backend), options_(options) {}

  absl::Status Run(const BenchMatmul& matmul) {
    const int64_t bytes = matmul.outputs * matmul.inputs / 4;
    TERNION_ASSIGN_OR_RETURN(const RotatedMatrix w, Pack(matmul.layout, matmul.outputs, matmul.inputs,
                                                         cuda::RotatedCopies(bytes), kEvenly));
    TERNION_RETURN_IF_ERROR(
        RunAllTokens(matmul, Inputs{matmul.density, false}, [&](const Operands& on, int64_t tokens, int i) {
          backend_.TernaryLinear(w.turn(i), Input(on, tokens, matmul.inputs),
                                 Scale(on.weight_scale, matmul.outputs), false,
                                 on.y.As<float>(tokens, matmul.outputs));
        }));
    if (matmul.density < 1) return absl::OkStatus();
    for (const std::string& name : options_.weights) TERNION_RETURN_IF_ERROR(RunWeights(matmul, name));
    return absl::OkStatus();
  }

  // Other weights of the shape that Run has measured last.
  absl::Status RunWeights(const BenchMatmul& shape, const std::string& name) {
    TERNION_ASSIGN_OR_RETURN(const BenchWeights w, BenchWeights::Make(backend_, name, shape.outputs,
                                                                      shape.inputs, cuda::kRotatedBytes));
    const BenchMatmul matmul{absl::StrFormat("  %s", name), shape.layout, shape.outputs, shape.inputs};
    TERNION_ASSIGN_OR_RETURN(const double floor, cuda::ReadSeconds(backend_, w.bytes()));
    for (int64_t tokens : options_.tokens) {
      TERNION_ASSIGN_OR_RETURN(const Buffer x, RandomFloats(tokens * shape.inputs));
      TERNION_ASSIGN_OR_RETURN(const Buffer y,
                               backend_.Allocate(static_cast<size_t>(tokens * shape.outputs * 4)));
      const double operations = 2.0 * static_cast<double>(shape.outputs * shape.inputs * tokens);
      const int launches = cuda::RotatedLaunches(w.copies(), floor + operations / 2e14);
      const double seconds = cuda::MedianSeconds(backend_, launches, options_.repetitions, [&](int i) {
        w.Multiply(backend_, i, x.As<const float>(tokens, shape.inputs), y.As<float>(tokens, shape.outputs));
      });
      Print(matmul, tokens, w.bytes(), seconds, floor, operations);
    }
    return absl::OkStatus();
  }

  // Bytes, operations and the vendor's matmul are those of both matrices. `open`: the share of positive gates.
  absl::Status RunGated(const BenchGatedUnit& unit, double open) {
    const int64_t n = unit.channels, copies = cuda::RotatedCopies(n * unit.inputs / 2);
    TERNION_ASSIGN_OR_RETURN(const RotatedMatrix gate,
                             Pack(TernaryLayout::kByOutput, n, unit.inputs, copies, open));
    TERNION_ASSIGN_OR_RETURN(const RotatedMatrix up,
                             Pack(TernaryLayout::kByOutput, n, unit.inputs, copies, kEvenly));
    const bool relu2 = unit.activation == Activation::kRelu2;
    const BenchMatmul both{relu2 ? "gate+up, ReLU^2" : "gate+up, SiLU", TernaryLayout::kByOutput, 2 * n,
                           unit.inputs, open};
    const auto run = relu2 ? &Backend::GatedRelu2 : &Backend::GatedSilu;
    return RunAllTokens(both, Inputs{1, true}, [&](const Operands& on, int64_t tokens, int i) {
      (backend_.*run)(gate.turn(i), up.turn(i), Input(on, tokens, unit.inputs), Scale(on.weight_scale, n),
                      Scale(on.weight_scale, n), on.y.As<float>(tokens, n));
    });
  }

 private:
  // A step's codes: how many are not zero, and whether these are all positive, so that a row that leans to +1 has a
  // positive sum.
  struct Inputs {
    double density;
    bool positive;
  };
  static constexpr double kEvenly = 0.5;  // as many rows lean to +1 as to -1

  using Enqueue = absl::FunctionRef<void(const Operands& on, int64_t tokens, int i)>;

  static QuantizedRows Input(const Operands& on, int64_t tokens, int64_t inputs) {
    return {on.codes.As<int8_t>(tokens, inputs), on.row_scale.As<float>(1, tokens)};
  }
  static TensorView<const float> Scale(const Buffer& scale, int64_t n) { return scale.As<const float>(1, n); }

  // All copies hold the same trits, drawn once.
  absl::StatusOr<RotatedMatrix> Pack(TernaryLayout layout, int64_t outputs, int64_t inputs, int64_t copies,
                                     double leaning) {
    RotatedMatrix matrix;
    TERNION_ASSIGN_OR_RETURN(PackedTernary first, trits_.Pack(backend_, layout, outputs, inputs, leaning));
    matrix.copies.push_back(std::move(first));
    while (static_cast<int64_t>(matrix.copies.size()) < copies) {
      const Buffer& data = matrix.copies.front().data;
      PackedTernary copy{layout, outputs, inputs, {}};
      TERNION_ASSIGN_OR_RETURN(copy.data, backend_.Allocate(data.bytes()));
      backend_.Copy(copy.data.data(), data.data(), data.bytes());
      matrix.copies.push_back(std::move(copy));
    }
    backend_.Synchronize();  // kernels fetch weights before they wait for what is before them
    return matrix;
  }

  absl::StatusOr<Operands> MakeOperands(const BenchMatmul& matmul, const Inputs& inputs, int64_t tokens) {
    Operands on;
    TERNION_ASSIGN_OR_RETURN(on.codes, backend_.Allocate(static_cast<size_t>(tokens * matmul.inputs)));
    TERNION_ASSIGN_OR_RETURN(on.row_scale, backend_.Allocate(static_cast<size_t>(tokens * 4)));
    TERNION_ASSIGN_OR_RETURN(on.weight_scale, backend_.Allocate(static_cast<size_t>(matmul.outputs * 4)));
    TERNION_ASSIGN_OR_RETURN(on.y, backend_.Allocate(static_cast<size_t>(tokens * matmul.outputs * 4)));
    std::vector<int8_t> codes(static_cast<size_t>(tokens * matmul.inputs));
    for (int8_t& code : codes) code = DrawCode(inputs);
    backend_.CopyFromHost(on.codes.data(), codes.data(), codes.size());
    const std::vector<float> ones(static_cast<size_t>(std::max(tokens, matmul.outputs)), 1.0f);
    backend_.CopyFromHost(on.row_scale.data(), ones.data(), on.row_scale.bytes());
    backend_.CopyFromHost(on.weight_scale.data(), ones.data(), on.weight_scale.bytes());
    backend_.Synchronize();
    return on;
  }

  absl::StatusOr<Buffer> RandomFloats(int64_t n) {
    TERNION_ASSIGN_OR_RETURN(Buffer x, backend_.Allocate(static_cast<size_t>(n * 4)));
    std::vector<float> values(static_cast<size_t>(n));
    for (float& value : values)
      value = static_cast<float>(static_cast<int>(random_() % 2001) - 1000) / 1000.0f;
    backend_.CopyFromHost(x.data(), values.data(), x.bytes());
    backend_.Synchronize();
    return x;
  }

  int8_t DrawCode(const Inputs& inputs) {
    if (static_cast<double>(random_() % 10000) >= inputs.density * 10000) return 0;
    const int size = 1 + static_cast<int>(random_() % 127);
    return static_cast<int8_t>(inputs.positive || random_() % 2 == 0 ? size : -size);
  }

  // What a sparse step skips is skipped for one token.
  absl::Status RunAllTokens(const BenchMatmul& matmul, const Inputs& inputs, Enqueue enqueue) {
    const int64_t bytes = matmul.outputs * matmul.inputs / 4;
    TERNION_ASSIGN_OR_RETURN(const double floor, cuda::ReadSeconds(backend_, std::max<int64_t>(bytes, 1)));
    for (int64_t tokens : options_.tokens) {
      if (matmul.density < 1 && tokens > 1) continue;
      TERNION_ASSIGN_OR_RETURN(const Operands on, MakeOperands(matmul, inputs, tokens));
      const double operations = 2.0 * static_cast<double>(matmul.outputs * matmul.inputs * tokens);
      const int launches = cuda::RotatedLaunches(cuda::RotatedCopies(bytes), floor + operations / 1e15);
      const double seconds = cuda::MedianSeconds(backend_, launches, options_.repetitions,
                                                 [&](int i) { enqueue(on, tokens, i); });
      ternary_[tokens] = seconds;
      Print(matmul, tokens, bytes, seconds, floor, operations);
    }
    return absl::OkStatus();
  }

  // "us ratio" of cuBLASLt's matmul; what is missing is a dash, and the reason is told once.
  std::string Vendor(cuda::VendorType type, const BenchMatmul& matmul, int64_t tokens, double seconds) {
    const VendorCase key{type, matmul.outputs, matmul.inputs, tokens};
    auto found = vendor_.find(key);
    if (found == vendor_.end()) {
      found =
          vendor_
              .emplace(key, cuda::VendorMatmulSeconds(backend_, type, matmul.outputs, matmul.inputs, tokens))
              .first;
    }
    const absl::StatusOr<double>& vendor = found->second;
    if (vendor.ok()) return absl::StrFormat("%9.1f %6.2fx", *vendor * 1e6, *vendor / seconds);
    const std::string reason(vendor.status().message());
    if (reason != told_) std::fprintf(stderr, "ternion: no comparison: %s\n", reason.c_str());
    told_ = reason;
    return absl::StrFormat("%9s %7s", "-", "-");
  }

  void Print(const BenchMatmul& matmul, int64_t tokens, int64_t bytes, double seconds, double floor,
             double operations) {
    std::printf("%-16s %13s %6lld %6.0f %% %9.2f %8.0f %9.2f %6.0f %%", matmul.name.c_str(),
                absl::StrFormat("%d x %d", matmul.outputs, matmul.inputs).c_str(),
                static_cast<long long>(tokens), 100 * matmul.density, seconds * 1e6,
                static_cast<double>(bytes) / seconds / 1e9, floor * 1e6, 100 * floor / seconds);
    std::fflush(stdout);
    std::printf(" %s", Vendor(cuda::VendorType::kFloat16, matmul, tokens, seconds).c_str());
    std::printf(" %s %8.1f", Vendor(cuda::VendorType::kInt8, matmul, tokens, seconds).c_str(),
                operations / seconds / 1e12);
    if (!options_.weights.empty()) std::printf(" %8.2f", seconds / ternary_[tokens]);
    std::printf("\n");
    std::fflush(stdout);
  }

  CudaBackend& backend_;
  const KernelBenchOptions& options_;
  RandomTernary trits_;
  std::minstd_rand random_{1};
  std::map<int64_t, double> ternary_;  // seconds of the last ternary matmul, by tokens
  using VendorCase =
      std::tuple<cuda::VendorType, int64_t, int64_t, int64_t>;  // type, outputs, inputs, tokens
  std::map<VendorCase, absl::StatusOr<double>> vendor_;
  std::string told_;
};

}  // namespace

absl::Status BenchCudaKernels(const KernelBenchOptions& options) {
  TERNION_ASSIGN_OR_RETURN(const BenchLayer layer, OpenBenchLayer(options));
  TERNION_ASSIGN_OR_RETURN(const std::unique_ptr<Backend> made, CudaBackend::Create(0));
  CudaBackend& backend = static_cast<CudaBackend&>(*made);
  std::printf(
      "%scuda (%s); weights take turns over %lld MB; floor: only reading them; ratios: cuBLASLt's time by "
      "ours; ternary: our time by the ternary matmul's\n",
      layer.title.c_str(), backend.properties().name, static_cast<long long>(cuda::kRotatedBytes >> 20));
  std::printf("%-16s %13s %6s %8s %9s %8s %9s %8s %9s %7s %9s %7s %8s%s\n", "matmul", "outputs x in",
              "tokens", "non-zero", "us", "GB/s", "floor us", "of it", "fp16 us", "ratio", "int8 us", "ratio",
              "TOP/s", options.weights.empty() ? "" : "  ternary");
  CudaBench bench(backend, options);
  for (const BenchMatmul& matmul : layer.matmuls) TERNION_RETURN_IF_ERROR(bench.Run(matmul));
  if (!layer.gated_unit.has_value()) return absl::OkStatus();
  TERNION_RETURN_IF_ERROR(bench.RunGated(*layer.gated_unit, 1));
  if (layer.gated_unit->activation == Activation::kRelu2) {
    TERNION_RETURN_IF_ERROR(bench.RunGated(*layer.gated_unit, kGateDensity));
  }
  return absl::OkStatus();
}

}  // namespace ternion
