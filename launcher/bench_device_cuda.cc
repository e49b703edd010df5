#include <map>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/graph_timer.h"
#include "kernels/cuda/read_bandwidth.h"
#include "kernels/device_memory_query.h"
#include "kernels/status.h"
#include "launcher/bench_device.h"

namespace ternion {
namespace {

using cuda::CudaBackend;

class CudaBench final : public BenchDevice {
 public:
  explicit CudaBench(std::unique_ptr<Backend> backend) : backend_(std::move(backend)) {}

  std::string Title() const override {
    return absl::StrCat("cuda (", cuda().properties().name, "), in CUDA graphs");
  }
  Backend& backend() override { return *backend_; }
  absl::StatusOr<int64_t> FreeBytes() const override {
    TERNION_ASSIGN_OR_RETURN(const DeviceMemory memory, QueryCudaMemory(0));
    return memory.free_bytes;
  }

  double Seconds(int64_t copies, double about_seconds, absl::FunctionRef<void(int64_t i)> enqueue) override {
    return cuda::MedianSeconds(cuda(), cuda::RotatedLaunches(copies, about_seconds), /*repetitions=*/1,
                               [&](int i) { enqueue(i % copies); });
  }

  absl::StatusOr<double> ReadSeconds(int64_t bytes) override {
    if (const auto known = read_seconds_.find(bytes); known != read_seconds_.end()) return known->second;
    TERNION_ASSIGN_OR_RETURN(const double seconds, cuda::ReadSeconds(cuda(), bytes));
    read_seconds_[bytes] = seconds;
    return seconds;
  }

 private:
  CudaBackend& cuda() const { return static_cast<CudaBackend&>(*backend_); }

  std::unique_ptr<Backend> backend_;
  std::map<int64_t, double> read_seconds_;  // nobody else uses the device, so they do not change
};

}  // namespace

absl::StatusOr<std::unique_ptr<BenchDevice>> OpenCudaBench() {
  TERNION_ASSIGN_OR_RETURN(std::unique_ptr<Backend> backend, CudaBackend::Create(0));
  return std::make_unique<CudaBench>(std::move(backend));
}

}  // namespace ternion
