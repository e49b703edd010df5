#include "kernels/cpu/cpu_backend.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

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

// Pages of its own, huge ones where the system has them; they come zeroed.
absl::StatusOr<Buffer> AllocateLarge(size_t bytes) {
  void* data = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED) return Refuse(bytes, std::strerror(errno));
  // Advice: where it is not taken the memory works as well, only slower.
  (void)madvise(data, bytes, MADV_HUGEPAGE);
  return Buffer(data, bytes, [](void* memory, size_t size) {
    CHECK(munmap(memory, size) == 0, "releasing memory that was not mapped");
  });
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

}  // namespace ternion::cpu

namespace ternion {

std::unique_ptr<Backend> MakeCpuBackend(int threads) {
  CHECK(threads >= 1, "a backend has at least the caller's thread");
  return std::make_unique<cpu::CpuBackend>(threads, cpu::DetectIsa());
}

}  // namespace ternion
