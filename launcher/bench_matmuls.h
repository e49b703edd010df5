#pragma once

#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/backend.h"
#include "launcher/bench.h"
#include "runtime/model/config.h"

namespace ternion {

// The share of rows whose gate is positive in a4.8 (docs/numerics.md).
inline constexpr double kGateDensity = 0.29;

// A ternary matmul to measure. `density`: the share of its input codes that are not zero.
struct BenchMatmul {
  std::string name;
  TernaryLayout layout;
  int64_t outputs;
  int64_t inputs;
  double density = 1;
};

// Gate and up as one operation.
struct BenchGatedUnit {
  Activation activation;
  int64_t channels;
  int64_t inputs;
};

// What `bench kernels` measures: a layer of the model on one rank of --tp, where a model is named, and the matmuls of
// --shape. kInvalidArgument says what is wrong with the options.
struct BenchLayer {
  std::string title;
  std::vector<BenchMatmul> matmuls;
  std::optional<BenchGatedUnit> gated_unit;
};
absl::StatusOr<BenchLayer> OpenBenchLayer(const KernelBenchOptions& options);

// Packs matrices of random trits.
class RandomTernary {
 public:
  RandomTernary();

  // `leaning` of the rows have more +1 than -1, the others more -1.
  absl::StatusOr<PackedTernary> Pack(Backend& backend, TernaryLayout layout, int64_t outputs, int64_t inputs,
                                     double leaning);

 private:
  std::minstd_rand random_{1};
  std::vector<uint8_t> drawn_;
};

}  // namespace ternion
