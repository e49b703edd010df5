#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "kernels/backend.h"
#include "kernels/peer_exchange.h"
#include "parallel/communicator.h"
#include "parallel/sharding.h"

namespace ternion {

// How float rows or int32 sums travel (docs/numerics.md).
enum class WireFormat : uint8_t {
  kExact,  // sums: int32; rows: float32
  kInt8,   // per 128 channels a bf16 scale
  kInt4,   // per 32 channels a bf16 minimum and step
};
absl::StatusOr<WireFormat> ParseWireFormat(std::string_view name);  // exact, int8, int4
std::string_view WireFormatName(WireFormat format);
// Bytes of one row of `channels` on the wire.
int64_t WireRowBytes(WireFormat format, int64_t channels);

// Bytes this rank sent to other ranks, by kind.
struct WireCount {
  int64_t reduce = 0;    // row-parallel sums
  int64_t gather = 0;    // activation codes, statistics, thresholds, embedding rows, logits
  int64_t pipeline = 0;  // stage boundaries
  bool operator==(const WireCount&) const = default;
};
WireCount operator-(const WireCount& a, const WireCount& b);

// Their counters: written by the engine thread, read by any. Exchanges add to them when they are called; what a recorded
// step sends again (Backend::Replay) its caller adds.
struct WireBytes {
  std::atomic<int64_t> reduce{0};
  std::atomic<int64_t> gather{0};
  std::atomic<int64_t> pipeline{0};

  WireCount Read() const;
  void Add(const WireCount& count);
};

// The exchanges of one tensor-parallel group, over steps of T tokens (rows), on the memory of the group's backend. All but
// EmbedRows and GatherLogits may be recorded (Backend::Replay).
//
// With few tokens (one-shot) every rank holds and sums all rows. With more (sequence-parallel) row t belongs
// to rank floor(t * tp / T), and an owner of no rows still takes part. "Owned rows" below are all T rows in
// the first case and this rank's share in the second. Both give the same bits. T is the same on every rank.
class TensorParallel {
 public:
  // Steps of at most this many tokens are one-shot.
  static constexpr int64_t kOneShotTokens = 16;

  // `most_tokens` and `most_channels` are the usual bounds of T and of the widest row: buffers of that size
  // are allocated once, and grow only for an exchange beyond it. What they outgrow stays until the end, since a
  // recorded step may still use it.
  static absl::StatusOr<std::unique_ptr<TensorParallel>> Create(Backend* backend, Communicator* group,
                                                                WireBytes* counters, int64_t most_tokens,
                                                                int64_t most_channels,
                                                                int64_t one_shot_tokens = kOneShotTokens);

  int rank() const { return group_->rank(); }
  int size() const { return group_->size(); }
  bool sequence_parallel(int64_t tokens) const { return size() > 1 && tokens > one_shot_tokens_; }
  // Rows of T that rank `rank` owns; all of them when one-shot.
  Range OwnedRows(int64_t tokens, int rank) const;
  Range OwnedRows(int64_t tokens) const { return OwnedRows(tokens, rank()); }

  // Takes over what it can: all ranks of the group have it, or none. GatherCodes and ReduceLossy then go through it where
  // it takes their rows; the other operations for it are below.
  void UsePeers(std::unique_ptr<PeerExchange> peers) { peers_ = std::move(peers); }
  // Whether PeerSubNormQuantize and PeerReduceAdd take a step of this many tokens; columns[r] is rank r's share of a row.
  bool PeersTake(int64_t tokens, const RowInput& how, absl::Span<const int64_t> columns) const;
  // Whether PeerReduceAddNormQuantize takes rows of n channels.
  bool PeersTakeNorm(int64_t n) const { return peers_ != nullptr && peers_->TakesNorm(n); }
  // PeerExchange's operations, counted. Always the first and one of the others, in this order.
  void PeerSubNormQuantize(const RowInput& how, absl::Span<const int64_t> columns,
                           TensorView<const float> mine, QuantizedRows out);
  void PeerReduceAdd(TensorView<const int32_t> partial, TensorView<const float> row_scale,
                     TensorView<const float> weight_scale, TensorView<float> residual);
  void PeerReduceAddNormQuantize(TensorView<const int32_t> partial, TensorView<const float> row_scale,
                                 TensorView<const float> weight_scale, TensorView<float> residual, float eps,
                                 TensorView<const float> norm_weight, bool int4, QuantizedRows out);

  // Whether the two operations below take rows of n channels.
  bool PeersTakeRows(int64_t n) const { return peers_ != nullptr && peers_->TakesRows(n); }
  // residual += ReduceLossy's sum, first multiplied by the InverseRms of its extra sum where there is extra.
  //                                  partial [T, n], extra [1, T], width and eps as for InverseRms; residual [owned, n]
  void PeerReduceLossyAdd(WireFormat format, TensorView<const float> partial, const float* extra,
                          int64_t width, float eps, TensorView<float> residual);
  // PeerExchange::QuantizeShare, counted; false without peers.
  bool PeerQuantizeShare(const RowInput& how, absl::Span<const int64_t> columns, float floor,
                         TensorView<const float> x, TensorView<float> squares, QuantizedRows out);

  // To be asked when the device has been waited for: kUnavailable when a peer did not answer.
  absl::Status Health() const { return peers_ == nullptr ? absl::OkStatus() : peers_->Health(); }

  // Sum over ranks of int32 partial sums.                        partial [T, n] -> sum [owned, n]
  absl::Status ReduceExact(TensorView<const int32_t> partial, TensorView<int32_t> sum);
  // The same of float partial sums, added in rank order.         partial [T, n] -> sum [owned, n]
  absl::Status ReduceFloats(TensorView<const float> partial, TensorView<float> sum);
  // Sum over ranks of float rows, each rank's (its own too) rounded to int8 or int4 once, decoded and added
  // in rank order; `extra` is one float a row that travels with it unrounded and is summed in rank order
  // (null: none).
  //                              partial [T, n], extra [1, T] -> sum [owned, n], extra_sum [1, owned]
  absl::Status ReduceLossy(WireFormat format, TensorView<const float> partial, const float* extra,
                           TensorView<float> sum, float* extra_sum);

  // Owned rows of codes and scales -> all T rows on every rank. `int4`: two codes share a byte on the wire. A
  // no-op copy when one-shot.                                          mine [owned, n] -> all [T, n]
  absl::Status GatherCodes(bool int4, BasicQuantizedRows<const int8_t, const float> mine, QuantizedRows all);

  // Owned rows of floats -> all T rows on every rank; `mine` may lie in `all`.      mine [owned, n] -> all [T, n]
  absl::Status GatherFloats(TensorView<const float> mine, TensorView<float> all);
  // Every rank's columns of all T rows, side by side in rank order.   mine [T, c_r] -> all [T, sum c_r];
  // columns[r] = c_r.
  absl::Status GatherColumns(TensorView<const float> mine, absl::Span<const int64_t> columns,
                             TensorView<float> all);
  // Elementwise maximum over ranks.                              values [1, T], in place
  absl::Status MaxOverRanks(TensorView<float> values);
  // The k-th largest magnitude of each whole row, whose columns are spread over the ranks.
  //                                                              mine [T, c_r] -> threshold [1, T]
  absl::Status KthMagnitude(TensorView<const float> mine, absl::Span<const int64_t> columns, int64_t k,
                            TensorView<float> threshold);

  // Rows of a table that is split over the ranks by `shard` (this rank's part of [0, vocab)); ids_host [T]. An id < 0
  // stands for drawn[~id] (Backend::GatherRows), where TakesDrawn. What peers read from a table is not counted as sent.
  //                                      table [shard.size(), h] -> out [owned, h], float32
  absl::Status EmbedRows(TensorView<const BFloat16> table, int64_t vocab, absl::Span<const int32_t> ids_host,
                         TensorView<const int32_t> drawn, TensorView<float> out);
  bool TakesDrawn() const { return size() == 1 || (peers_ != nullptr && peers_->has_table()); }
  // Lets peers read the table that EmbedRows is then called with, where they can: called by all ranks after UsePeers.
  absl::Status OpenTable(TensorView<const BFloat16> table, int64_t vocab, GatherStrings gather);

  // GatherColumns, through the peers where there are any. Not to be recorded.
  absl::Status GatherLogits(TensorView<const float> mine, absl::Span<const int64_t> columns,
                            TensorView<float> all);

  // Those of a step's T rows that this rank owns, counted from its first one; rows ascend.
  std::vector<int32_t> OwnedOf(int64_t tokens, absl::Span<const int32_t> rows) const;
  // Rows of a step from their owners (for the head); a copy when one-shot.
  //                                      mine [OwnedOf(tokens, rows), n] -> all [rows, n]
  absl::Status GatherRows(int64_t tokens, absl::Span<const int32_t> rows, TensorView<const float> mine,
                          TensorView<float> all);

 private:
  TensorParallel() = default;

  // Brings every rank's block of the owned rows of `partial`, of 4 bytes an element, to recv_.   [tp * owned, n]
  template <typename T>
  absl::StatusOr<TensorView<T>> ExchangePartialSums(TensorView<const T> partial);
  // Brings every rank's block of the rows this rank owns to recv_, in rank order; a block of n rows takes
  // block_bytes(n). `send` holds a block for every owner, or the one block of all rows when one-shot.
  absl::Status ExchangeRowBlocks(const std::byte* send, int64_t tokens,
                                 absl::FunctionRef<int64_t(int64_t rows)> block_bytes);
  // Blocks side by side: recv_ holds, for every rank in order, [rows, columns[r]]; row i of `all` is row i of each.
  void JoinColumns(absl::Span<const int64_t> columns, TensorView<float> all);
  // What every rank owns of a step's rows.
  std::vector<Range> OwnedByEach(int64_t tokens) const;
  // Bytes that a lossy reduce sends to other ranks.
  int64_t LossyBytes(WireFormat format, int64_t tokens, int64_t channels, bool with_extra) const;
  // Makes `buffer` hold `bytes` at least; where it must grow, its contents are lost.
  absl::Status Reserve(Buffer& buffer, int64_t bytes);

  Backend* backend_ = nullptr;
  Communicator* group_ = nullptr;
  WireBytes* counters_ = nullptr;
  int64_t one_shot_tokens_ = kOneShotTokens;
  Buffer send_;
  Buffer recv_;
  std::vector<Buffer> retired_;
  std::unique_ptr<PeerExchange> peers_;
};

// The boundary between pipeline stages: the residual x of owned rows. In the next stage a tp rank receives
// the rows floor(t * tp / T) = its own; when the step is one-shot the stage then shares them, still encoded,
// so that every rank decodes the same bytes; both count as pipeline bytes. Not to be recorded (Backend::Replay): a recorded
// step ends only when its messages have left (parallel/nccl_communicator.h).
class PipelineLink {
 public:
  // `column`: this tp rank's column of the grid, one rank a stage.
  static absl::StatusOr<std::unique_ptr<PipelineLink>> Create(Backend* backend, Communicator* column,
                                                              Communicator* group,
                                                              TensorParallel* tensor_parallel,
                                                              WireBytes* counters, WireFormat format,
                                                              int64_t most_tokens, int64_t hidden);
  // x [owned, h] of this stage (all T rows when one-shot) to the next stage.
  absl::Status Send(int64_t tokens, TensorView<const float> x);
  // From the previous stage into x [owned, h].
  absl::Status Recv(int64_t tokens, TensorView<float> x);
  // Communicator::Progress of what was sent.
  absl::StatusOr<bool> Progress() { return column_->Progress(); }

 private:
  PipelineLink() = default;

  Backend* backend_ = nullptr;
  Communicator* column_ = nullptr;
  Communicator* group_ = nullptr;
  TensorParallel* tensor_parallel_ = nullptr;
  WireBytes* counters_ = nullptr;
  WireFormat format_ = WireFormat::kExact;
  Buffer mine_;
  Buffer all_;
};

}  // namespace ternion
