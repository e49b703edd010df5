#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "kernels/backend.h"

namespace ternion {

// A device and how work on it is timed. Operands take turns over more bytes than caches hold.
class BenchDevice {
 public:
  virtual ~BenchDevice() = default;

  virtual std::string Title() const = 0;
  virtual Backend& backend() = 0;
  // Bytes that can be allocated.
  virtual absl::StatusOr<int64_t> FreeBytes() const = 0;
  // Seconds that one of enqueue(0), enqueue(1), ... takes, for `copies` operands in turn; a call takes about
  // `about_seconds`. `enqueue` only calls operations.
  virtual double Seconds(int64_t copies, double about_seconds,
                         absl::FunctionRef<void(int64_t i)> enqueue) = 0;
  // Seconds that only reading so many bytes takes now.
  virtual absl::StatusOr<double> ReadSeconds(int64_t bytes) = 0;
};

// How many operands of `bytes` take turns.
int64_t RotatedCopies(int64_t bytes);

std::unique_ptr<BenchDevice> OpenCpuBench(int threads);

// The first CUDA device. kUnavailable without one, or in a build without CUDA.
absl::StatusOr<std::unique_ptr<BenchDevice>> OpenCudaBench();

}  // namespace ternion
