#include "kernels/cuda/graph_timer.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <vector>

namespace ternion::cuda {
namespace {

constexpr double kGraphSeconds = 1e-3;
constexpr int kMostLaunches = 2000;
constexpr int64_t kMostCopies = 1000;

struct DestroyGraph {
  void operator()(cudaGraphExec_t graph) const { cudaGraphExecDestroy(graph); }
};
using Graph = std::unique_ptr<CUgraphExec_st, DestroyGraph>;

struct DestroyEvent {
  void operator()(cudaEvent_t event) const { cudaEventDestroy(event); }
};
using Event = std::unique_ptr<CUevent_st, DestroyEvent>;

Event MakeEvent() {
  cudaEvent_t event = nullptr;
  CUDA_CHECK(cudaEventCreate(&event));
  return Event(event);
}

Graph Record(cudaStream_t stream, int launches, absl::FunctionRef<void(int i)> enqueue) {
  cudaGraph_t recording = nullptr;
  CUDA_CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeRelaxed));
  for (int i = 0; i < launches; ++i) enqueue(i);
  CUDA_CHECK(cudaStreamEndCapture(stream, &recording));
  cudaGraphExec_t executable = nullptr;
  CUDA_CHECK(cudaGraphInstantiate(&executable, recording, 0));
  CUDA_CHECK(cudaGraphDestroy(recording));
  return Graph(executable);
}

}  // namespace

double MedianSeconds(CudaBackend& backend, int launches, int repetitions,
                     absl::FunctionRef<void(int i)> enqueue) {
  const cudaStream_t stream = backend.launch_stream().handle;
  enqueue(0);  // memory that it takes grows here, not while it is recorded
  CUDA_CHECK(cudaStreamSynchronize(stream));
  const Graph graph = Record(stream, launches, enqueue);
  const Event begin = MakeEvent(), end = MakeEvent();
  CUDA_CHECK(cudaGraphLaunch(graph.get(), stream));
  std::vector<float> milliseconds(static_cast<size_t>(std::max(1, repetitions)));
  for (float& passed : milliseconds) {
    // While the first run keeps the device busy, the second is enqueued whole.
    CUDA_CHECK(cudaGraphLaunch(graph.get(), stream));
    CUDA_CHECK(cudaEventRecord(begin.get(), stream));
    CUDA_CHECK(cudaGraphLaunch(graph.get(), stream));
    CUDA_CHECK(cudaEventRecord(end.get(), stream));
    CUDA_CHECK(cudaStreamSynchronize(stream));
    CUDA_CHECK(cudaEventElapsedTime(&passed, begin.get(), end.get()));
  }
  const auto median = milliseconds.begin() + static_cast<int64_t>(milliseconds.size() / 2);
  std::nth_element(milliseconds.begin(), median, milliseconds.end());
  return static_cast<double>(*median) * 1e-3 / launches;
}

int64_t RotatedCopies(int64_t bytes) {
  return std::clamp<int64_t>(kRotatedBytes / std::max<int64_t>(1, bytes) + 1, 1, kMostCopies);
}

int RotatedLaunches(int64_t copies, double seconds) {
  const double turn_seconds = seconds * static_cast<double>(copies);
  const int64_t turns = static_cast<int64_t>(std::ceil(kGraphSeconds / std::max(turn_seconds, 1e-9)));
  const int64_t most = std::max<int64_t>(1, kMostLaunches / copies);
  return static_cast<int>(copies * std::clamp<int64_t>(turns, 1, most));
}

}  // namespace ternion::cuda
