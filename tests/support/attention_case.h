#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "kernels/backend.h"
#include "tests/support/backends.h"

namespace ternion {

// A sequence whose queries, keys and values are known for every position, and the blocks that hold it.
struct TestSequence {
  int64_t tokens = 0;
  std::vector<float> qkv;  // [tokens, (query_heads + 2 * kv_heads) * head_dim]
  std::vector<int32_t> blocks;
};

// One part of one step: `rows` tokens of a sequence from `position` on.
struct StepPart {
  int sequence = 0;
  int64_t position = 0;
  int64_t rows = 0;
};

// The operations of a step: without rotation, with it, and the same by one operation.
enum class StepMeans { kWriteAttend, kTurnWriteAttend, kAtOnce };

// Sequences over one layer's cache, all bits of which are set (NaN, in floats) wherever nothing was written.
class AttentionCase {
 public:
  AttentionCase(HeadShard heads, KvFormat format, std::vector<int64_t> lengths, int query_bits = 0);

  // Multiplies the queries, keys and values of every position by factor(position).
  void Scale(const std::function<float(int64_t position)>& factor);
  // Lets `change` write a position's queries, keys or values: [heads * head_dim] each.
  void Change(
      const std::function<void(int64_t position, float* queries, float* keys, float* values)>& change);

  // Runs steps on a backend from an empty cache. The result is [sequences][tokens, query_heads * head_dim], NaN
  // where no step went; `cache_after`: the cache's bytes in the end.
  std::vector<std::vector<float>> Run(Backend& backend, const std::vector<std::vector<StepPart>>& steps,
                                      StepMeans means = StepMeans::kWriteAttend,
                                      std::vector<uint8_t>* cache_after = nullptr) const;
  // `prompt` tokens of every sequence in one step, then one token of each a step until the shortest ends. These steps go
  // through Backend::Replay, over the same memory. The result is what Run gives of the tokens that took part.
  std::vector<std::vector<float>> RunReplayed(Backend& backend, int64_t prompt,
                                              StepMeans means = StepMeans::kWriteAttend) const;
  // The cache's bytes after these steps.
  std::vector<uint8_t> CacheAfter(Backend& backend, const std::vector<std::vector<StepPart>>& steps) const;
  // Every sequence whole, in one step.
  std::vector<std::vector<StepPart>> OneStep() const;

  const HeadShard& heads() const { return heads_; }
  KvFormat format() const { return format_; }
  int query_bits() const { return query_bits_; }
  const std::vector<TestSequence>& sequences() const { return sequences_; }
  int64_t width() const { return (heads_.query_heads + 2 * heads_.kv_heads) * int64_t{heads_.head_dim}; }
  int64_t out_width() const { return heads_.query_heads * int64_t{heads_.head_dim}; }

 private:
  struct Operands {
    TensorView<float> qkv;
    TensorView<const float> angles;
    const KvSlices& slices;
    const KvLayer& cache;
    TensorView<float> result;
  };
  void Operate(Backend& backend, StepMeans means, const Operands& on) const;
  DeviceMatrix<float> Angles(Backend& backend) const;  // [positions, head_dim]

  std::vector<float> RowsOf(const std::vector<StepPart>& step) const;
  std::vector<KvSlice> SlicesOf(const std::vector<StepPart>& step) const;
  size_t cache_bytes() const;
  KvLayer Cache(const DeviceMatrix<uint8_t>& memory) const;
  void RunStep(Backend& backend, const KvLayer& cache, const std::vector<StepPart>& step, StepMeans means,
               std::vector<std::vector<float>>* out) const;

  HeadShard heads_;
  KvFormat format_;
  int query_bits_;
  int64_t blocks_ = 0;
  std::vector<TestSequence> sequences_;
};

}  // namespace ternion
