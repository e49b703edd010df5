#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/backend.h"
#include "kernels/kv.h"

namespace ternion {

// f32, f16, int8, int4, int3, int4-g32, int3-g32; kInvalidArgument with the names.
absl::StatusOr<KvFormat> ParseKvFormat(std::string_view name);
std::string_view KvFormatName(KvFormat format);
// kInvalidArgument where heads of so many channels cannot be stored in this format.
absl::Status CheckKvFormat(KvFormat format, int head_dim);

// A block whose contents another one gets.
struct BlockCopy {
  int32_t from = 0;
  int32_t to = 0;
};

// The KV blocks of a stage's layers on one rank. A block id means the same positions on every rank and layer: rank 0's
// BlockPool gives ids out, every rank holds its own layers' and heads' share of them.
class KvCache {
 public:
  // As CheckKvFormat; kResourceExhausted with the number of bytes. `query_bits`: KvLayer's. Memory is touched only when
  // written.
  static absl::StatusOr<std::unique_ptr<KvCache>> Create(Backend& backend, KvFormat format, int query_bits,
                                                         int64_t layers, int64_t blocks,
                                                         const HeadShard& heads);

  // Bytes of one block of one layer.
  static int64_t BlockBytes(KvFormat format, const HeadShard& heads);

  // layer: counted from the stage's first.
  const KvLayer& layer(int64_t layer) const { return layers_[layer]; }

  // Copies a block in every layer.
  void Copy(Backend& backend, BlockCopy copy) const;

 private:
  std::vector<Buffer> buffers_;
  std::vector<KvLayer> layers_;
};

// Blocks that hold `positions` positions.
inline int64_t BlocksFor(int64_t positions) { return (positions + kKvBlockTokens - 1) / kKvBlockTokens; }

}  // namespace ternion
