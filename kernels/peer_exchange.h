#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "kernels/backend.h"

namespace ternion {

// Exchanges of a few tokens between devices that can write into each other's memory: GPUs of one host. Each is one
// kernel that stores into the peers' inboxes and polls its own, where a library call would cost several times as much
// (docs/BENCHMARKS.md). Results are the same bits as with one device. Members call the same operations in the same
// order, the two kinds in turn: SubNormQuantize, ReduceAdd, SubNormQuantize, ...
//
// A peer that does not answer ends the wait after kPeerPatienceSeconds; the results are then worthless and Health says so.
class PeerExchange {
 public:
  virtual ~PeerExchange() = default;

  // Steps of at most this many tokens.
  virtual int64_t most_tokens() const = 0;

  // Whether SubNormQuantize takes rows of these columns; the same on every member.
  virtual bool Takes(const RowInput& how, absl::Span<const int64_t> columns) const = 0;

  // Backend::SubNormQuantize of rows whose columns are spread over the members: member r holds columns[r] of them,
  // side by side in order. how.weight is the whole row's.
  //                                 mine [T, columns[rank]], out.codes likewise, out.scales [1, T]
  virtual void SubNormQuantize(const RowInput& how, absl::Span<const int64_t> columns,
                               TensorView<const float> mine, QuantizedRows out) = 0;

  // residual[t][o] += float32(sum of the members' partial[t][o]) * (row_scale[t] * weight_scale[o]).
  //                                 partial, residual [T, n], row_scale [1, T], weight_scale [1, n]
  virtual void ReduceAdd(TensorView<const int32_t> partial, TensorView<const float> row_scale,
                         TensorView<const float> weight_scale, TensorView<float> residual) = 0;

  // kUnavailable when a peer did not answer. To be asked when the device has been waited for.
  virtual absl::Status Health() const = 0;
};

inline constexpr int kPeerPatienceSeconds = 10;
inline constexpr int kMostPeers = 8;

// Every member's string, in member order. Every member calls it twice, whatever fails.
using GatherStrings = absl::FunctionRef<std::vector<std::string>(std::string_view mine)>;

// For steps of up to `tokens` tokens, rows of up to `width` channels before and `hidden` after a row-parallel layer.
// kUnavailable, on all members alike, where a member's device cannot be written to by another.
absl::StatusOr<std::unique_ptr<PeerExchange>> MakeCudaPeerExchange(Backend& backend, int rank, int ranks,
                                                                   int64_t tokens, int64_t width,
                                                                   int64_t hidden, GatherStrings gather);

}  // namespace ternion
