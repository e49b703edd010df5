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
#include "kernels/range.h"

namespace ternion {

// Rows to be summed over the members, each member's rounded to a wire format once (PeerExchange::ReduceRounded).
struct RoundedRows {
  bool int4 = false;                // Backend::EncodeInt4's format; else EncodeInt8's
  absl::Span<const Range> owned;    // of each member: all rows, or shares side by side
  TensorView<const float> partial;  // [T, n]
  const float* extra = nullptr;     // [T], travels with the rows unrounded, -0 as 0; null: none
};

// Every member's string, in member order. Every member calls it as often as the others, whatever fails.
using GatherStrings = absl::FunctionRef<std::vector<std::string>(std::string_view mine)>;

// Exchanges between devices that can write into each other's memory: GPUs of one host. Each is one kernel that stores into
// the peers' inboxes and waits for what comes into its own, where library calls would cost several times as much
// (docs/BENCHMARKS.md). Results are the same bits as with one device, or as without peers.
//
// Members call the same operations in the same order. Inboxes come in pairs that take turns, so what is recorded
// (Backend::Replay) must hold an even number of SubNormQuantize, of the two ReduceAdd, and of the two ReduceRounded and
// GatherCodes; and between two QuantizeShare must lie another exchange.
//
// A peer that does not answer ends the wait after kPeerPatienceSeconds; the results are then worthless and Health says so.
class PeerExchange {
 public:
  virtual ~PeerExchange() = default;

  // A few tokens, every member has all rows.

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

  // Whether ReduceAddNormQuantize takes rows of n channels.
  virtual bool TakesNorm(int64_t n) const = 0;

  // ReduceAdd, then Backend::NormQuantize of the residual.
  //                                 norm_weight [1, n], out.codes [T, n], out.scales [1, T]
  virtual void ReduceAddNormQuantize(TensorView<const int32_t> partial, TensorView<const float> row_scale,
                                     TensorView<const float> weight_scale, TensorView<float> residual,
                                     float eps, TensorView<const float> norm_weight, bool int4,
                                     QuantizedRows out) = 0;

  // Any number of tokens.

  // Whether the operations below take rows of n channels.
  virtual bool TakesRows(int64_t n) const = 0;

  // sum[t] = the members' partial[t] of this member's rows, each rounded, decoded and added in member order; extra_sum
  // likewise, unrounded (null without extra).             sum [own rows, n], extra_sum [1, own rows]
  virtual void ReduceRounded(const RoundedRows& rows, TensorView<float> sum, float* extra_sum) = 0;
  // residual[t] += sum[t], first multiplied by Backend::InverseRms(extra_sum[t], width, eps) where there is extra.
  //                                                         residual [own rows, n]
  virtual void ReduceRoundedAdd(const RoundedRows& rows, int64_t width, float eps,
                                TensorView<float> residual) = 0;

  // Every member's codes and scales of its rows to all. `int4`: two codes share a byte on their way.
  //                                                         mine [own rows, n] -> all [T, n]
  virtual void GatherCodes(bool int4, absl::Span<const Range> owned,
                           BasicQuantizedRows<const int8_t, const float> mine, QuantizedRows all) = 0;

  // Any number of rows, not to be recorded.

  // Whether GatherColumns takes rows of these columns; the same on every member.
  virtual bool TakesColumns(absl::Span<const int64_t> columns) const = 0;
  // Every member's columns side by side; columns[r] is how many member r has.
  //                                                         mine [T, columns[rank]] -> all [T, sum of columns]
  virtual void GatherColumns(absl::Span<const int64_t> columns, TensorView<const float> mine,
                             TensorView<float> all) = 0;

  // Opens a table whose rows are split over the members, for EmbedRows. Every member calls it with its part, `rows[r]`
  // being member r's rows; the parts do not change and outlive the exchange. kUnavailable on all members alike.
  virtual absl::Status OpenTable(TensorView<const BFloat16> mine, absl::Span<const Range> rows,
                                 GatherStrings gather) = 0;
  virtual bool has_table() const = 0;
  // Backend::GatherRows of the whole table: read from where it lies, so nothing is sent and nobody waits.
  virtual void EmbedRows(absl::Span<const int32_t> rows_host, TensorView<const int32_t> drawn,
                         TensorView<float> out) = 0;

  // Any number of tokens again.

  // This member's channels of rows before a row-parallel layer with a lossy wire; columns[r] is how many member r has.
  // squares[t] = Backend::RowSums of SumSquares by how.segment, then x * how.weight (both left out where how.weight, this
  // member's, is empty); of all members' channels the how.keep largest magnitudes stay, as by KthMagnitude and ZeroBelow;
  // RowAbsMax of this member's, QuantizeInt8 with `floor`. False, on all members, where it does not take such rows.
  //                                                         x [T, columns[rank]], squares [1, T]
  virtual bool QuantizeShare(const RowInput& how, absl::Span<const int64_t> columns, float floor,
                             TensorView<const float> x, TensorView<float> squares, QuantizedRows out) = 0;

  // kUnavailable when a peer did not answer. To be asked when the device has been waited for.
  virtual absl::Status Health() const = 0;
};

inline constexpr int kPeerPatienceSeconds = 10;
inline constexpr int kMostPeers = 8;

// For few tokens: steps of up to `tokens`, rows of up to `width` channels before and `hidden` after a row-parallel layer.
// kUnavailable, on all members alike, where a member's device cannot be written to by another.
absl::StatusOr<std::unique_ptr<PeerExchange>> MakeCudaPeerExchange(Backend& backend, int rank, int ranks,
                                                                   int64_t tokens, int64_t width,
                                                                   int64_t hidden, GatherStrings gather);

}  // namespace ternion
