#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kernels/backend.h"
#include "kernels/peer_exchange.h"
#include "parallel/communicator.h"
#include "parallel/mpi_session.h"

namespace ternion {

// A row-parallel layer's sums and what follows them (`norm`).
struct NormSums {
  TensorView<const int32_t> partial;     // [T, n]
  TensorView<const float> row_scale;     // [1, T]
  TensorView<const float> weight_scale;  // [1, n]
  TensorView<float> residual;            // [T, n]
  TensorView<const float> norm_weight;   // [1, n]
  QuantizedRows out;                     // INT4
};
inline constexpr float kBenchEps = 1e-5f;

// What the ranks' devices are and how work on them is timed. Every rank calls everything in the same order.
class CollectiveDevice {
 public:
  virtual ~CollectiveDevice() = default;

  virtual std::string Title() const = 0;
  virtual Backend& backend() = 0;
  virtual Communicator& group() = 0;
  // For steps of up to `tokens` tokens of `hidden` channels; null where devices cannot write to each other.
  virtual std::unique_ptr<PeerExchange> MakePeers(int64_t tokens, int64_t hidden) = 0;

  // The plain sum: of fp16 or, where the library has none, of float32 numbers.
  virtual std::string SumName() const = 0;
  virtual int64_t SumBytes() const = 0;  // of a number
  virtual absl::Status Sum(const void* part, void* sum, int64_t count) = 0;
  virtual absl::Status SumInt32(const int32_t* part, int32_t* sum, int64_t count) = 0;
  // What follows an exchange of int32 sums: `sums.partial` holds the sums.
  virtual void AddNormQuantize(const NormSums& sums) = 0;

  // How many operands of `bytes` are to take turns.
  virtual int64_t Copies(int64_t bytes) const = 0;
  // Median seconds of a call on the slowest rank, over enqueue(0), enqueue(1), ... for `copies` operands in turn; a call
  // takes about `about_seconds`.
  virtual absl::StatusOr<double> Seconds(int64_t copies, double about_seconds, int repetitions,
                                         absl::FunctionRef<absl::Status(int i)> enqueue) = 0;
};

// Seconds of the rank that took longest; called by all ranks.
double SlowestOf(MpiSession& mpi, double seconds);

// A CUDA device for each rank, with NCCL. kUnavailable where there are none, or in a build without.
absl::StatusOr<std::unique_ptr<CollectiveDevice>> OpenCudaCollectives(MpiSession& mpi);

}  // namespace ternion
