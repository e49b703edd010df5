#include "kernels/cpu/cpu_backend.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <mutex>

#include "absl/strings/str_cat.h"
#include "kernels/status.h"

namespace ternion::cpu {
namespace {

constexpr size_t kAlignment = 256;
constexpr size_t kHugePageBytes = size_t{2} << 20;

absl::Status Refuse(size_t bytes, std::string_view why) {
  return absl::ResourceExhaustedError(absl::StrCat("cannot allocate ", bytes,
                                                   " bytes of host memory: ", ToAbsl(why),
                                                   "; take a smaller model, cache or batch, or more ranks"));
}

size_t PhysicalBytes() {
  return static_cast<size_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<size_t>(sysconf(_SC_PAGE_SIZE));
}

// From the heap, whose tools see a write beyond the end.
absl::StatusOr<Buffer> AllocateSmall(size_t bytes) {
  void* data = nullptr;
  if (const int error = posix_memalign(&data, kAlignment, bytes); error != 0) {
    return Refuse(bytes, std::strerror(error));
  }
  std::memset(data, 0, bytes);
  return Buffer(data, bytes, [](void* memory, size_t) { std::free(memory); });
}

// Large buffers lie one behind the other in regions of huge pages, where the system has them: a matrix of a few megabytes
// in a mapping of its own would lie in small pages mostly, and reading it would wait for the page tables. Memory is
// handed out once and unmapped when it is released, so it comes zeroed.
class LargeBuffers {
 public:
  absl::StatusOr<Buffer> Allocate(size_t bytes) {
    const size_t mapped = WholePages(bytes);
    std::lock_guard lock(mutex_);
    if (mapped > left_) TERNION_RETURN_IF_ERROR(MapRegion(mapped));
    void* const data = next_;
    next_ += mapped;
    left_ -= mapped;
    return Buffer(data, bytes, [](void* memory, size_t size) { Unmap(memory, WholePages(size)); });
  }

 private:
  static constexpr size_t kRegionBytes = size_t{256} << 20;

  static size_t WholePages(size_t bytes) {
    const auto page = static_cast<size_t>(sysconf(_SC_PAGE_SIZE));
    return (bytes + page - 1) / page * page;
  }
  static void Unmap(void* memory, size_t bytes) {
    CHECK(munmap(memory, bytes) == 0, "releasing memory that was not mapped");
  }

  absl::Status MapRegion(size_t least) {
    const size_t bytes = std::max(least, kRegionBytes);
    void* const mapped = mmap(nullptr, bytes + kHugePageBytes, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapped == MAP_FAILED) return Refuse(least, std::strerror(errno));
    if (left_ > 0) Unmap(next_, left_);
    const size_t skip =
        (kHugePageBytes - reinterpret_cast<uintptr_t>(mapped) % kHugePageBytes) % kHugePageBytes;
    next_ = static_cast<char*>(mapped) + skip;
    left_ = bytes + kHugePageBytes - skip;
    if (skip > 0) Unmap(mapped, skip);
    // Advice: where it is not taken the memory works as well, only slower.
    (void)madvise(next_, left_, MADV_HUGEPAGE);
    return absl::OkStatus();
  }

  std::mutex mutex_;
  char* next_ = nullptr;  // of the region that is being handed out
  size_t left_ = 0;
};

absl::StatusOr<Buffer> AllocateLarge(size_t bytes) {
  static LargeBuffers buffers;
  return buffers.Allocate(bytes);
}

}  // namespace

absl::StatusOr<Buffer> CpuBackend::Allocate(size_t bytes) {
  if (bytes == 0) return Buffer();
  // Asked here, since a kernel that overcommits would refuse only when the memory is touched.
  if (bytes > PhysicalBytes()) return Refuse(bytes, absl::StrCat("the host has ", PhysicalBytes()));
  return bytes < kHugePageBytes ? AllocateSmall(bytes) : AllocateLarge(bytes);
}

void CpuBackend::CopyFromHost(void* device, const void* host, size_t bytes) {
  if (bytes > 0) std::memcpy(device, host, bytes);
}

void CpuBackend::CopyToHost(void* host, const void* device, size_t bytes) {
  if (bytes > 0) std::memcpy(host, device, bytes);
}

void CpuBackend::Copy(void* to, const void* from, size_t bytes) {
  if (bytes > 0 && to != from) std::memcpy(to, from, bytes);
}

absl::StatusOr<bool> CpuBackend::Replay(uint64_t, absl::FunctionRef<absl::Status()> body) {
  TERNION_RETURN_IF_ERROR(body());
  return true;
}

}  // namespace ternion::cpu

namespace ternion {

std::unique_ptr<Backend> MakeCpuBackend(int threads) {
  CHECK(threads >= 1, "a backend has at least the caller's thread");
  return std::make_unique<cpu::CpuBackend>(threads, cpu::DetectIsa());
}

}  // namespace ternion
