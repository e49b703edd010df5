#include "kernels/cuda/cuda_backend.h"

#include <cstdio>
#include <cstdlib>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/check.h"
#include "kernels/status.h"

namespace ternion::cuda {
namespace {

// A recorded step takes memory of the device; beyond this many the oldest is forgotten.
constexpr size_t kMostGraphs = 96;

absl::Status Unavailable(int device, cudaError_t error) {
  return absl::UnavailableError(
      absl::StrCat("CUDA device ", device, " cannot be used: ", cudaGetErrorString(error)));
}

}  // namespace

void CudaCallFailed(const char* file, int line, const char* call, cudaError_t error) {
  CheckFailed(file, line, call, absl::StrCat(cudaGetErrorName(error), ": ", cudaGetErrorString(error)));
}

absl::StatusOr<std::unique_ptr<Backend>> CudaBackend::Create(int device) {
  int devices = 0;
  if (const cudaError_t error = cudaGetDeviceCount(&devices); error != cudaSuccess) {
    return Unavailable(device, error);
  }
  if (device < 0 || device >= devices) {
    return absl::UnavailableError(
        absl::StrCat("there is no CUDA device ", device, "; this host shows ", devices));
  }
  cudaDeviceProp properties;
  if (const cudaError_t error = cudaGetDeviceProperties(&properties, device); error != cudaSuccess) {
    return Unavailable(device, error);
  }
  if (properties.major < 8) {
    return absl::UnavailableError(absl::StrCat("CUDA device ", device, " (", properties.name,
                                               ") has compute capability ", properties.major, ".",
                                               properties.minor, "; 8.0 is the least that works"));
  }
  if (const cudaError_t error = cudaSetDevice(device); error != cudaSuccess)
    return Unavailable(device, error);
  cudaStream_t stream = nullptr;
  if (const cudaError_t error = cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
      error != cudaSuccess) {
    return Unavailable(device, error);
  }
  return std::unique_ptr<Backend>(new CudaBackend(device, stream, properties));
}

CudaBackend::CudaBackend(int device, cudaStream_t stream, const cudaDeviceProp& properties)
    : device_(device), stream_{stream, properties.major >= 9}, properties_(properties), staging_(stream) {}

CudaBackend::~CudaBackend() {
  cudaStreamSynchronize(stream_.handle);
  graphs_.clear();
  cudaStreamDestroy(stream_.handle);
}

absl::StatusOr<Buffer> CudaBackend::Allocate(size_t bytes) {
  if (bytes == 0) return Buffer();
  void* data = nullptr;
  if (const cudaError_t error = cudaMalloc(&data, bytes); error != cudaSuccess) {
    cudaGetLastError();  // taken
    size_t free_bytes = 0;
    size_t total_bytes = 0;
    cudaMemGetInfo(&free_bytes, &total_bytes);
    return absl::ResourceExhaustedError(
        absl::StrCat("cannot allocate ", bytes, " bytes on CUDA device ", device_, " (", properties_.name,
                     "): ", cudaGetErrorString(error), "; ", free_bytes, " of ", total_bytes,
                     " bytes are free; take a smaller model, cache or batch, or more ranks"));
  }
  CUDA_CHECK(cudaMemsetAsync(data, 0, bytes, stream_.handle));
  return Buffer(data, bytes, [](void* memory, size_t) { cudaFree(memory); });
}

void CudaBackend::CopyFromHost(void* device, const void* host, size_t bytes) {
  if (bytes > 0) CUDA_CHECK(cudaMemcpyAsync(device, host, bytes, cudaMemcpyHostToDevice, stream_.handle));
}

void CudaBackend::CopyToHost(void* host, const void* device, size_t bytes) {
  if (bytes > 0) CUDA_CHECK(cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, stream_.handle));
}

void CudaBackend::Copy(void* to, const void* from, size_t bytes) {
  if (bytes > 0 && to != from) {
    CUDA_CHECK(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, stream_.handle));
  }
}

void CudaBackend::Synchronize() { CUDA_CHECK(cudaStreamSynchronize(stream_.handle)); }

// The first run is not recorded: libraries connect and memory grows in it.
absl::StatusOr<bool> CudaBackend::Replay(uint64_t key, absl::FunctionRef<absl::Status()> body) {
  if (const auto known = graphs_.find(key); known != graphs_.end()) {
    CUDA_CHECK(cudaGraphLaunch(known->second.get(), stream_.handle));
    return false;
  }
  if (seen_.insert(key).second) {
    TERNION_RETURN_IF_ERROR(body());
    return true;
  }
  TERNION_ASSIGN_OR_RETURN(Graph graph, Record(body));
  if (graphs_.size() == kMostGraphs) {
    CUDA_CHECK(cudaStreamSynchronize(stream_.handle));  // it may still run
    graphs_.erase(recorded_.front());
    recorded_.pop_front();
  }
  CUDA_CHECK(cudaGraphLaunch(graph.get(), stream_.handle));
  graphs_.emplace(key, std::move(graph));
  recorded_.push_back(key);
  return true;
}

absl::StatusOr<CudaBackend::Graph> CudaBackend::Record(absl::FunctionRef<absl::Status()> body) {
  // Relaxed, since memory may be allocated meanwhile.
  CUDA_CHECK(cudaStreamBeginCapture(stream_.handle, cudaStreamCaptureModeRelaxed));
  const absl::Status status = body();
  cudaGraph_t recording = nullptr;
  CUDA_CHECK(cudaStreamEndCapture(stream_.handle, &recording));
  if (!status.ok()) {
    cudaGraphDestroy(recording);
    return status;
  }
  cudaGraphExec_t executable = nullptr;
  CUDA_CHECK(cudaGraphInstantiate(&executable, recording, 0));
  CUDA_CHECK(cudaGraphDestroy(recording));
  return Graph(executable);
}

}  // namespace ternion::cuda

namespace ternion {

absl::StatusOr<std::unique_ptr<Backend>> MakeCudaBackend(int device) {
  return cuda::CudaBackend::Create(device);
}

}  // namespace ternion
