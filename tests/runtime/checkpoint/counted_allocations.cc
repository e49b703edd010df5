#include "tests/runtime/checkpoint/counted_allocations.h"

#include <malloc.h>
#include <stdlib.h>
#include <sys/mman.h>

#include <atomic>
#include <new>

namespace {

std::atomic<int64_t> held_bytes{0};
std::atomic<int64_t> most_bytes{0};

void Count(int64_t bytes) {
  const int64_t held = held_bytes += bytes;
  int64_t most = most_bytes;
  while (held > most && !most_bytes.compare_exchange_weak(most, held)) {
  }
}

void* Counted(void* data) {
  if (data != nullptr) Count(static_cast<int64_t>(malloc_usable_size(data)));
  return data;
}

}  // namespace

// The linker's --wrap leads the calls of the program here.
extern "C" {

void* __real_malloc(size_t bytes);
void* __real_calloc(size_t n, size_t bytes);
void* __real_realloc(void* data, size_t bytes);
void __real_free(void* data);
int __real_posix_memalign(void** data, size_t alignment, size_t bytes);
void* __real_mmap(void* at, size_t bytes, int protection, int flags, int fd, off_t offset);

void* __wrap_malloc(size_t bytes) { return Counted(__real_malloc(bytes)); }
void* __wrap_calloc(size_t n, size_t bytes) { return Counted(__real_calloc(n, bytes)); }
void __wrap_free(void* data) {
  if (data != nullptr) held_bytes -= static_cast<int64_t>(malloc_usable_size(data));
  __real_free(data);
}
void* __wrap_realloc(void* data, size_t bytes) {
  if (data != nullptr) held_bytes -= static_cast<int64_t>(malloc_usable_size(data));
  return Counted(__real_realloc(data, bytes));
}
int __wrap_posix_memalign(void** data, size_t alignment, size_t bytes) {
  const int error = __real_posix_memalign(data, alignment, bytes);
  if (error == 0) Counted(*data);
  return error;
}
void* __wrap_mmap(void* at, size_t bytes, int protection, int flags, int fd, off_t offset) {
  if ((flags & MAP_ANONYMOUS) != 0) Count(static_cast<int64_t>(bytes));
  return __real_mmap(at, bytes, protection, flags, fd, offset);
}
}

// The libraries' calls of these lead here too. All forms, because a sanitizer has its own of those that are left out.
void* operator new(size_t bytes, const std::nothrow_t&) noexcept { return malloc(bytes); }
void* operator new(size_t bytes) {
  if (void* data = malloc(bytes)) return data;
  throw std::bad_alloc();
}
void* operator new(size_t bytes, std::align_val_t alignment) {
  void* data = nullptr;
  if (posix_memalign(&data, static_cast<size_t>(alignment), bytes) != 0) throw std::bad_alloc();
  return data;
}
void* operator new[](size_t bytes, const std::nothrow_t&) noexcept { return malloc(bytes); }
void* operator new[](size_t bytes) { return operator new(bytes); }
void* operator new[](size_t bytes, std::align_val_t alignment) { return operator new(bytes, alignment); }
void operator delete(void* data) noexcept { free(data); }
void operator delete(void* data, size_t) noexcept { free(data); }
void operator delete(void* data, std::align_val_t) noexcept { free(data); }
void operator delete(void* data, size_t, std::align_val_t) noexcept { free(data); }
void operator delete[](void* data) noexcept { free(data); }
void operator delete[](void* data, size_t) noexcept { free(data); }
void operator delete[](void* data, std::align_val_t) noexcept { free(data); }
void operator delete[](void* data, size_t, std::align_val_t) noexcept { free(data); }

namespace ternion {

CountedAllocations::CountedAllocations() : before_(held_bytes) { most_bytes = before_; }

int64_t CountedAllocations::peak_bytes() const { return most_bytes - before_; }

}  // namespace ternion
