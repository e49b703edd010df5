#pragma once

#include <atomic>
#include <cstdint>

#include "kernels/ternary.h"

namespace ternion::cpu {

// Tasks add what each has counted; read by any thread.
class WeightSkipCounter {
 public:
  void Add(const WeightSkips& more) {
    weights_.fetch_add(more.weights, std::memory_order_relaxed);
    skipped_.fetch_add(more.skipped, std::memory_order_relaxed);
  }
  WeightSkips Read() const {
    // In the other order than Add, so that no more are skipped than there are.
    const int64_t skipped = skipped_.load(std::memory_order_relaxed);
    return {weights_.load(std::memory_order_relaxed), skipped};
  }

 private:
  std::atomic<int64_t> weights_{0};
  std::atomic<int64_t> skipped_{0};
};

}  // namespace ternion::cpu
