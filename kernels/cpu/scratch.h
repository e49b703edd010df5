#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace ternion::cpu {

// A thread's memory for intermediate results, last taken first returned. It grows to what the thread's operations
// need at once and stays for the next: the system's allocator would give it back and fault it in again each time.
class ScratchStack {
 public:
  static ScratchStack& OfThisThread();

  ScratchStack() = default;
  ~ScratchStack();
  ScratchStack(const ScratchStack&) = delete;
  ScratchStack& operator=(const ScratchStack&) = delete;

  void* Push(size_t bytes);  // aligned to a line of cache, contents undefined
  void Pop(void* data);

 private:
  struct Chunk {
    char* data;
    size_t bytes;
    size_t used;
  };

  std::vector<Chunk> chunks_;
  size_t top_ = 0;  // the chunk in use; those after it are empty
};

// An array on the stack of the thread that made it, which must be the one that destroys it.
template <typename T>
class Scratch {
 public:
  explicit Scratch(int64_t size)
      : data_(static_cast<T*>(ScratchStack::OfThisThread().Push(static_cast<size_t>(size) * sizeof(T)))) {}
  ~Scratch() { ScratchStack::OfThisThread().Pop(data_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  T* data() { return data_; }
  T& operator[](int64_t i) { return data_[i]; }

 private:
  T* data_;
};

}  // namespace ternion::cpu
