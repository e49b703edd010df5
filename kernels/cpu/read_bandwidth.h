#pragma once

#include <cstddef>

#include "kernels/cpu/thread_pool.h"

namespace ternion::cpu {

// Measures the rate at which `threads` threads together read memory: the floor under any kernel that streams weights.
// Other load on the machine moves it from one moment to the next, so measure it beside what is compared with it.
class ReadProbe {
 public:
  // A buffer of `bytes` (take many times the last-level cache), written once.
  ReadProbe(int threads, size_t bytes);
  ~ReadProbe();
  ReadProbe(const ReadProbe&) = delete;
  ReadProbe& operator=(const ReadProbe&) = delete;

  // Reads the buffer once with plain loads, in slices; the median slice's rate in bytes a second. 0 if the buffer cannot
  // be had.
  double Measure();

 private:
  ThreadPool pool_;
  size_t bytes_;
  void* mapped_;
  char* data_;
};

}  // namespace ternion::cpu
