#include "kernels/cpu/scratch.h"

#include <algorithm>
#include <new>

namespace ternion::cpu {
namespace {

constexpr std::align_val_t kAlignment{64};
constexpr size_t kChunkBytes = 1 << 20;

}  // namespace

ScratchStack& ScratchStack::OfThisThread() {
  thread_local ScratchStack stack;
  return stack;
}

ScratchStack::~ScratchStack() {
  for (const Chunk& chunk : chunks_) ::operator delete(chunk.data, kAlignment);
}

void* ScratchStack::Push(size_t bytes) {
  bytes = (bytes + 63) / 64 * 64;
  while (top_ < chunks_.size() && chunks_[top_].bytes - chunks_[top_].used < bytes) ++top_;
  if (top_ == chunks_.size()) {
    const size_t size = std::max(bytes, kChunkBytes);
    chunks_.push_back({static_cast<char*>(::operator new(size, kAlignment)), size, 0});
  }
  Chunk& chunk = chunks_[top_];
  chunk.used += bytes;
  return chunk.data + chunk.used - bytes;
}

void ScratchStack::Pop(void* data) {
  Chunk& chunk = chunks_[top_];
  chunk.used = static_cast<size_t>(static_cast<char*>(data) - chunk.data);
  while (top_ > 0 && chunks_[top_].used == 0) --top_;
}

}  // namespace ternion::cpu
