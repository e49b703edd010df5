#include "launcher/bench_device.h"

#include <algorithm>
#include <chrono>

#include "absl/strings/str_cat.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/read_bandwidth.h"
#include "kernels/status.h"
#include "launcher/host.h"

namespace ternion {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int64_t kRotatedBytes = int64_t{576} << 20;
constexpr int64_t kMostCopies = 1000;
constexpr size_t kProbeBytes = size_t{512} << 20;
constexpr double kLeastSeconds = 0.1;  // of a measurement, unless all operands have had their turn before

class CpuBench final : public BenchDevice {
 public:
  explicit CpuBench(int threads)
      : threads_(threads), backend_(MakeCpuBackend(threads)), probe_(threads, kProbeBytes) {}

  std::string Title() const override {
    return absl::StrCat("cpu (", ToAbsl(cpu::IsaName(cpu::DetectIsa())), "), ", threads_, " threads");
  }
  Backend& backend() override { return *backend_; }
  absl::StatusOr<int64_t> FreeBytes() const override { return AvailableHostMemory(); }

  double Seconds(int64_t copies, double, absl::FunctionRef<void(int64_t i)> enqueue) override {
    const Clock::time_point begin = Clock::now();
    int64_t calls = 0;
    double passed = 0;
    while (calls < copies && passed < kLeastSeconds) {
      enqueue(next_++ % copies);
      ++calls;
      passed = std::chrono::duration<double>(Clock::now() - begin).count();
    }
    return passed / static_cast<double>(calls);
  }

  absl::StatusOr<double> ReadSeconds(int64_t bytes) override {
    return static_cast<double>(bytes) / probe_.Measure();
  }

 private:
  int threads_;
  std::unique_ptr<Backend> backend_;
  cpu::ReadProbe probe_;
  int64_t next_ = 0;
};

}  // namespace

int64_t RotatedCopies(int64_t bytes) {
  return std::clamp<int64_t>(kRotatedBytes / std::max<int64_t>(1, bytes) + 1, 1, kMostCopies);
}

std::unique_ptr<BenchDevice> OpenCpuBench(int threads) { return std::make_unique<CpuBench>(threads); }

}  // namespace ternion
