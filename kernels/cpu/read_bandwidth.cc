#include "kernels/cpu/read_bandwidth.h"

#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <vector>

#include "kernels/cpu/thread_pool.h"

namespace ternion::cpu {
namespace {

constexpr size_t kTaskBytes = 512 << 10;
constexpr int kTasksPerThread = 8;
constexpr size_t kHugePage = 2 << 20;

// Sums 64 bytes a step in eight sums, which compilers keep in vector registers.
uint64_t Sum(const uint64_t* words, size_t count) {
  uint64_t sums[8] = {};
  for (size_t i = 0; i < count; i += 8) {
    for (size_t k = 0; k < 8; ++k) sums[k] += words[i + k];
  }
  uint64_t sum = 0;
  for (uint64_t part : sums) sum += part;
  return sum;
}

// The rate of every slice of the buffer, read once by all threads.
std::vector<double> SliceRates(const char* data, size_t bytes, ThreadPool& pool) {
  const size_t slice = kTaskBytes * kTasksPerThread * static_cast<size_t>(pool.threads());
  std::vector<uint64_t> sums(slice / kTaskBytes);
  std::vector<double> rates;
  for (size_t at = 0; at + slice <= bytes; at += slice) {
    const auto start = std::chrono::steady_clock::now();
    pool.ForEach(static_cast<int64_t>(sums.size()), [&](int64_t task) {
      const char* begin = data + at + static_cast<size_t>(task) * kTaskBytes;
      // Added to what is there, so that no read is idle.
      sums[static_cast<size_t>(task)] += Sum(reinterpret_cast<const uint64_t*>(begin), kTaskBytes / 8);
    });
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    rates.push_back(static_cast<double>(slice) / took.count());
  }
  return rates;
}

// What the buffer's slices are made of: whole slices, at least one.
size_t WholeSlices(int threads, size_t bytes) {
  const size_t slice = kTaskBytes * kTasksPerThread * static_cast<size_t>(threads);
  return std::max(bytes, slice) / slice * slice;
}

}  // namespace

ReadProbe::ReadProbe(int threads, size_t bytes)
    : pool_(threads),
      bytes_(WholeSlices(threads, bytes)),
      mapped_(mmap(nullptr, bytes_ + kHugePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)),
      data_(static_cast<char*>(mapped_)) {
  if (mapped_ == MAP_FAILED) return;
  data_ += (kHugePage - reinterpret_cast<uintptr_t>(data_) % kHugePage) % kHugePage;
  madvise(data_, bytes_, MADV_HUGEPAGE);
  pool_.ForEach(static_cast<int64_t>(bytes_ / kTaskBytes), [&](int64_t task) {
    std::memset(data_ + static_cast<size_t>(task) * kTaskBytes, 1, kTaskBytes);
  });
}

ReadProbe::~ReadProbe() {
  if (mapped_ != MAP_FAILED) munmap(mapped_, bytes_ + kHugePage);
}

double ReadProbe::Measure() {
  if (mapped_ == MAP_FAILED) return 0;
  std::vector<double> rates = SliceRates(data_, bytes_, pool_);
  std::nth_element(rates.begin(), rates.begin() + rates.size() / 2, rates.end());
  return rates[rates.size() / 2];
}

}  // namespace ternion::cpu
