#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "kernels/float_linear.h"
#include "kernels/kv.h"
#include "kernels/tensor.h"
#include "kernels/ternary.h"

namespace ternion {

// Below this absolute maximum an int8 row is taken for zeros (docs/numerics.md, Q8).
inline constexpr float kInt8Floor = 1e-5f;

// What happens to a row before a row-parallel layer (Backend::SubNormQuantize).
struct RowInput {
  TensorView<const float> weight;  // [1, n]; empty: the row is not normalized
  int segment = 0;                 // channels per sum of squares
  float eps = 0;
  int64_t keep = 0;  // top-K: how many channels stay; n: all
};

// How a column is drawn from a row of logits: the top_k largest are kept, of these the softmax at the temperature is
// taken, of that the fewest likeliest whose weights reach top_p of the whole are kept, at least one; equal logits rank
// by column, the lower first. Of these go those whose weight is under min_p of the largest one's. Then the first column,
// in ascending order, whose running weight exceeds `uniform` of the kept weights. A logit of -infinity is never drawn
// unless all are.
struct SampleRow {
  float temperature = 0;  // 0: the largest logit
  int32_t top_k = 0;      // 0: all
  float top_p = 1;        // (0, 1]
  double uniform = 0;     // the random number, [0, 1)
  float min_p = 0;        // [0, 1]

  constexpr bool takes_largest() const { return temperature == 0.0f || top_k == 1; }
};

// A logit x becomes y = x + add, then y / repetition where y > 0, else y * repetition (arXiv 1909.05858, section 4.1),
// then y - subtract.
struct LogitChange {
  int32_t row = 0;
  int32_t column = 0;
  float add = 0;         // logit_bias; -infinity forbids the column
  float repetition = 1;  // > 0
  float subtract = 0;    // presence and frequency penalties

  bool operator==(const LogitChange&) const = default;
};

// A row of logits whose probabilities are told.
struct LogprobRow {
  int32_t row = 0;
  int32_t column = -1;  // that of this one; -1: of the one that was drawn

  bool operator==(const LogprobRow&) const = default;
};

// A column that may be drawn from a row whose columns are spread over devices, counted on from the first device's. A list
// of them may end with some of -infinity, whose column has no meaning.
struct Candidate {
  float logit = 0;
  int32_t column = 0;

  bool operator==(const Candidate&) const = default;
};
// Columns whose weights are added before those of other columns (Backend::Sample, Backend::WeighSegments).
inline constexpr int64_t kVocabSegment = 256;

// 32-bit words of a mask of `columns` columns (Backend::MaskLogits).
constexpr int64_t MaskWords(int64_t columns) { return (columns + 31) / 32; }

// Every operation on one device. T is a step's number of tokens (rows). All views point into this device's memory
// unless a name says `host`. Operations run in the order they are called; Synchronize waits for the last.
//
// Rounding: float32 throughout, no fused multiply-add, every sum in an order fixed by the element's index
// (docs/numerics.md). Segment(x, begin, n): n is a power of two; the tree that halves n: first x[i] + x[i + n/2], ...
// A row's segment sums are "added": on the CPU in ascending order; on CUDA lane l of 32 adds segments l, l + 32,
// l + 64, ... ascending, then Segment of the 32 lanes.
class Backend {
 public:
  virtual ~Backend() = default;

  // Memory. Allocate fails with kResourceExhausted; the memory is zeroed.
  virtual absl::StatusOr<Buffer> Allocate(size_t bytes) = 0;
  virtual void CopyFromHost(void* device, const void* host, size_t bytes) = 0;
  virtual void CopyToHost(void* host, const void* device, size_t bytes) = 0;
  virtual void Copy(void* to, const void* from, size_t bytes) = 0;
  virtual void Synchronize() = 0;
  // The stream that operations run on, for libraries that enqueue to it: a cudaStream_t; null on the CPU.
  virtual void* stream() const = 0;

  // Hands a step's slices to Rope, WriteKv and Attention.
  virtual KvSlices UploadSlices(absl::Span<const KvSlice> slices_host) = 0;

  // Runs `body`, or what an earlier call with this key recorded of it: calls with one key must do the same operations on
  // the same memory, whose contents may differ. Within it nothing waits for the device or reads its results. True if
  // `body` itself ran.
  virtual absl::StatusOr<bool> Replay(uint64_t key, absl::FunctionRef<absl::Status()> body) = 0;

  // out[t] = float32(table[rows_host[t]]); a row r < 0 stands for row drawn[~r], which the device knows by then.
  //                                                    table [vocab, h], drawn [1, any], out [T, h]
  virtual void GatherRows(TensorView<const BFloat16> table, absl::Span<const int32_t> rows_host,
                          TensorView<const int32_t> drawn, TensorView<float> out) = 0;

  // out[i] = x[rows_host[i]].                                   x [T, n], out [rows, n]
  virtual void SelectRows(TensorView<const float> x, absl::Span<const int32_t> rows_host,
                          TensorView<float> out) = 0;

  // out[i] = table[rows_host[i]].                               table [vocab, h], out [rows, h]
  virtual void PickRows(TensorView<const BFloat16> table, absl::Span<const int32_t> rows_host,
                        TensorView<BFloat16> out) = 0;
  // to[t][column + i] = from[t][i].                             from [T, n], to [T, any]
  virtual void CopyColumns(TensorView<const float> from, int64_t column, TensorView<float> to) = 0;

  // out[t][s] = Segment sum of x[t][i]^2 over the `segment` channels i of segment s (a power of two, at most 32).
  //                                                             x [T, n], out [T, n / segment]
  virtual void SumSquares(TensorView<const float> x, int segment, TensorView<float> out) = 0;
  // y = x / sqrt(S / width + eps) * weight, S = the row's `sums` added.
  //                                                             x, y [T, n], sums [T, any], weight [1, n]
  virtual void RmsNorm(TensorView<const float> x, TensorView<const float> sums, int64_t width, float eps,
                       TensorView<const float> weight, TensorView<float> y) = 0;
  // out[t] = the row's `sums` added.                            sums [T, any], out [1, T]
  virtual void RowSums(TensorView<const float> sums, TensorView<float> out) = 0;
  // out[t] = 1 / sqrt(sum[t] / width + eps).                    sum, out [1, T]
  virtual void InverseRms(TensorView<const float> sum, int64_t width, float eps, TensorView<float> out) = 0;
  // y = x * weight, column by column.                           x, y [T, n], weight [1, n]
  virtual void ScaleColumns(TensorView<const float> x, TensorView<const float> weight,
                            TensorView<float> y) = 0;

  // out[t] = max |x[t][i]|.                                     x [T, n], out [1, T]
  virtual void RowAbsMax(TensorView<const float> x, TensorView<float> out) = 0;
  // a = max(absmax[t], floor); code = clip(rint(x * (127 / a)), -128, 127); scale = a / 127 (NUMERICS, Q8).
  virtual void QuantizeInt8(TensorView<const float> x, TensorView<const float> absmax, float floor,
                            QuantizedRows out) = 0;
  // a = max(mean|x|, 1e-5); code = clip(rint(x * (sqrt7 / a)), -8, 7); scale = a / sqrt7 (BitNet a4.8, Q4).
  // The mean adds Segment sums of 32 channels (n must be a multiple).
  virtual void QuantizeInt4(TensorView<const float> x, QuantizedRows out) = 0;
  // Two INT4 codes a byte, the even channel in the low nibble.  codes [T, n], packed [T, n / 2], n even
  virtual void PackInt4(TensorView<const int8_t> codes, TensorView<uint8_t> packed) = 0;
  virtual void UnpackInt4(TensorView<const uint8_t> packed, TensorView<int8_t> codes) = 0;
  // threshold[t] = the k-th largest |x[t][i]|, 1 <= k <= n.     x [T, n], threshold [1, T]
  virtual void KthMagnitude(TensorView<const float> x, int64_t k, TensorView<float> threshold) = 0;
  // x[t][i] = 0 where |x[t][i]| < threshold[t].
  virtual void ZeroBelow(TensorView<const float> threshold, TensorView<float> x) = 0;

  // A row before column-parallel layers: SumSquares by segments of gcd(32, n), RmsNorm over n, then QuantizeInt4, or
  // RowAbsMax and QuantizeInt8 with kInt8Floor.                 x [T, n], weight [1, n]
  virtual void NormQuantize(TensorView<const float> x, float eps, TensorView<const float> weight, bool int4,
                            QuantizedRows out) = 0;
  // A row before a row-parallel layer that one rank holds whole: SumSquares by how.segment, RmsNorm over n,
  // KthMagnitude and ZeroBelow, RowAbsMax, QuantizeInt8 with kInt8Floor. x is undefined afterwards.  x [T, n]
  virtual void SubNormQuantize(const RowInput& how, TensorView<float> x, QuantizedRows out) = 0;

  // Packs W [outputs, inputs] for TernaryMatmul. Fails with kResourceExhausted, or with kInvalidArgument where the
  // reader gives a code above 2.
  virtual absl::StatusOr<PackedTernary> PackTernary(TernaryLayout layout, int64_t outputs, int64_t inputs,
                                                    TritReader reader) = 0;
  // out = codes . W^T, exact.                                   codes [T, inputs], out [T, outputs]
  // Of a kByInput matrix the weights of zero inputs are not read, where that is faster.
  virtual void TernaryMatmul(const PackedTernary& w, TensorView<const int8_t> codes,
                             TensorView<int32_t> out) = 0;
  // y[t][o] = float32(sums[t][o]) * (row_scale[t] * weight_scale[o]).
  //                                     sums, y [T, n], row_scale [1, T], weight_scale [1, n]
  virtual void Dequantize(TensorView<const int32_t> sums, TensorView<const float> row_scale,
                          TensorView<const float> weight_scale, TensorView<float> y) = 0;
  // y = Dequantize(TernaryMatmul(w, x.codes), x.scales, weight_scale), added to what is there when `add`.
  //                                     x [T, inputs], weight_scale [1, outputs], y [T, outputs]
  virtual void TernaryLinear(const PackedTernary& w, QuantizedRows x, TensorView<const float> weight_scale,
                             bool add, TensorView<float> y) = 0;
  // y[t][o] = (g * g) * u where g > 0, else +0, with g, u = Dequantize of codes . gate^T and codes . up^T. Weights of
  // `up` whose gate is not positive are not read, where that is faster.   gate, up: kByOutput [n, inputs], y [T, n]
  virtual void GatedRelu2(const PackedTernary& gate, const PackedTernary& up, QuantizedRows x,
                          TensorView<const float> gate_scale, TensorView<const float> up_scale,
                          TensorView<float> y) = 0;
  // y = silu(g) * u, silu(g) = g / (1 + exp(-g)).
  virtual void GatedSilu(const PackedTernary& gate, const PackedTernary& up, QuantizedRows x,
                         TensorView<const float> gate_scale, TensorView<const float> up_scale,
                         TensorView<float> y) = 0;

  // Packs W for UniformLinear. Fails with kResourceExhausted, or with kInvalidArgument where the reader gives a code or a
  // zero that has more bits than the format, or a scale that is not finite.
  virtual absl::StatusOr<PackedUniform> PackUniform(const UniformFormat& format, int64_t outputs,
                                                    int64_t inputs, UniformReader reader) = 0;
  // y = x . W^T + bias, added to what is there when `add`; an output's bits depend on its row of x and of W alone. x is
  // rounded to 16-bit integers (docs/numerics.md); then the CPU and CUDA give the same bits. Rows not finite give NaN.
  //                                     x [T, inputs], bias [1, outputs] or empty, y [T, outputs]
  virtual void UniformLinear(const PackedUniform& w, TensorView<const float> x, TensorView<const float> bias,
                             bool add, TensorView<float> y) = 0;
  // The same of plain weights. CPU: sums as Head's. CUDA: batches of 64 channels on tensor cores (kernels/cuda/dense_batch.cuh).
  //                                     x [T, inputs], bias [1, outputs] or empty, y [T, outputs]
  virtual void DenseLinear(const DenseMatrix& w, TensorView<const float> x, TensorView<const float> bias,
                           bool add, TensorView<float> y) = 0;
  // y = silu(gate) * up, silu as GatedSilu's.                   gate, up, y [T, n]; y may be gate
  virtual void SiluMultiply(TensorView<const float> gate, TensorView<const float> up,
                            TensorView<float> y) = 0;

  // x += y.                                                     [T, n]
  virtual void Add(TensorView<const float> y, TensorView<float> x) = 0;
  // x = max(x, y).                                              [T, n]
  virtual void Maximum(TensorView<const float> y, TensorView<float> x) = 0;
  // x[t] *= factor[t].                                          x [T, n], factor [1, T]
  virtual void ScaleRows(TensorView<const float> factor, TensorView<float> x) = 0;

  // Rotates the pairs (i, i + head_dim / 2) of every head of x by the slices' positions.
  //              x [T, stride], heads at columns [column, column + heads * head_dim); cos_sin [positions, head_dim]:
  //              head_dim / 2 cosines, then as many sines.
  virtual void Rope(TensorView<float> x, int64_t column, int heads, int head_dim,
                    TensorView<const float> cos_sin, const KvSlices& slices) = 0;
  // Rounds K and V of the step's tokens to the cache's format and writes them to their slots.
  //              qkv [T, (query_heads + 2 * kv_heads) * head_dim]: queries, keys, values of the local heads
  virtual void WriteKv(TensorView<const float> qkv, const HeadShard& heads, const KvSlices& slices,
                       const KvLayer& cache) = 0;
  // Rope of the queries and keys in qkv's first columns, then WriteKv; qkv's keys are undefined afterwards.
  virtual void RopeWriteKv(TensorView<float> qkv, const HeadShard& heads, TensorView<const float> cos_sin,
                           const KvSlices& slices, const KvLayer& cache) = 0;
  // Causal softmax(q k^T / sqrt(head_dim)) v over the cache alone; qkv as above.     out [T, query_heads * head_dim]
  // By blocks of kKvBlockTokens absolute positions, merged in ascending order: M' = max(M, m),
  // L' = L exp(M - M') + l exp(m - M'), A likewise; out = A / L.
  // CPU: score = the sum of q * k by segments of 16 channels (each added in ascending order, then the segments), times
  // 1/sqrt(head_dim); in a block m = max, p = exp(s - m), l = sum p, a = sum p * v in ascending position. Of packed
  // formats k is a code, and the scale s follows: the sum times s, then times 1/sqrt(head_dim); a = sum (p * s) * code.
  // With groups a segment's sum becomes sum * s + b * (sum of its q), and v is b + code * s.
  // CUDA: q, p, k and v are rounded to float16 and multiplied by tensor cores; a row goes through the four blocks of a chunk
  // of 256 positions, and chunks merge in ascending order (kernels/cuda/attention.cu).
  virtual void Attention(TensorView<const float> qkv, const HeadShard& heads, const KvSlices& slices,
                         const KvLayer& cache, TensorView<float> out) = 0;
  // RopeWriteKv, then Attention; qkv is undefined afterwards.
  virtual void RopeAttention(TensorView<float> qkv, const HeadShard& heads, TensorView<const float> cos_sin,
                             const KvSlices& slices, const KvLayer& cache, TensorView<float> out) = 0;

  // logits[t][v] = x[t] . table[v] in float32. CPU: 16 partial sums by channel modulo 16, each in ascending order, then
  // Segment. CUDA: x in three bfloat16 terms on tensor cores, 128 channels at a time (kernels/cuda/head.cu).
  //                                       x [T, h] (h a multiple of 16), table [vocab, h], logits [T, vocab]
  virtual void Head(TensorView<const float> x, TensorView<const BFloat16> table,
                    TensorView<float> logits) = 0;

  // ids[t] = the largest logit's column; the lowest of equals.  logits [T, vocab], ids [1, T]
  virtual void ArgMax(TensorView<const float> logits, TensorView<int32_t> ids) = 0;
  // Changes single logits; of a row and column there is one change at most. before[i] = what change i found, where it is not
  // empty.                                                      logits [T, vocab], before [1, changes] or empty
  virtual void ChangeLogits(TensorView<float> logits, absl::Span<const LogitChange> changes_host,
                            TensorView<float> before) = 0;
  // Takes ChangeLogits back.
  virtual void RestoreLogits(TensorView<const float> before, absl::Span<const LogitChange> changes_host,
                             TensorView<float> logits) = 0;
  // logits[rows_host[i]][v] = -infinity where mask i lacks bit v: bit v % 32 of its word v / 32. Each row is masked once at most.
  //                                                         logits [T, n], words_host [masks, (n + 31) / 32]
  virtual void MaskLogits(TensorView<float> logits, absl::Span<const int32_t> rows_host,
                          absl::Span<const uint32_t> words_host) = 0;
  // Natural logarithms of the softmax of rows: logprobs[i][0] is that of the column which rows_host[i] names, or of
  // ids[row]; logprobs[i][1 + j] that of top_ids[i][j], the row's j-th largest logit; equal ones rank by column, the lower
  // first. k may be 0. The sum of exp(x - max) is added in float64, on the CPU by segments of 256 columns in ascending
  // order, on CUDA by lane c modulo 1024 of column c, each in ascending order, then Segment of the lanes.
  //                         logits [T, vocab], ids [1, T], top_ids [rows, k], logprobs [rows, 1 + k]
  virtual void Logprobs(TensorView<const float> logits, absl::Span<const LogprobRow> rows_host,
                        TensorView<const int32_t> ids, TensorView<int32_t> top_ids,
                        TensorView<float> logprobs) = 0;
  // ids[t] = the column drawn from logits[t] by rows_host[t].    logits [T, vocab], ids [1, T]
  // Every draw depends on its row alone. CPU: weights in float64, added by segments of 256 columns in ascending order.
  // CUDA: weights rounded to multiples of 2^-40 and added exactly.
  virtual void Sample(TensorView<const float> logits, absl::Span<const SampleRow> rows_host,
                      TensorView<int32_t> ids) = 0;

  // What devices that hold columns of the same rows do instead, to draw what Sample draws from whole rows
  // (runtime/model/draws.h).

  // lists[t] = the counts_host[t] largest logits of row t, 1 <= count <= k, equal ones the lower column first; ascending by
  // column, which counts from `first`.                           logits [T, n], lists [T, k]
  virtual void Shortlist(TensorView<const float> logits, int64_t first, absl::Span<const int32_t> counts_host,
                         TensorView<Candidate> lists) = 0;
  // ids[t] = the column that Sample draws from a row that holds these logits, and -infinity in its other columns.
  //                                                              lists [T, any], ascending, ids [1, T]
  virtual void SampleListed(TensorView<const Candidate> lists, absl::Span<const SampleRow> rows_host,
                            TensorView<int32_t> ids) = 0;
  // sums[t][s] = what the columns [kVocabSegment * s, kVocabSegment * (s + 1)) of a row weigh in Sample together, in the
  // backend's own numbers; the row's largest logit is that of lists[t]. top_k and top_p play no part. Rows that take the
  // largest are left out; behind the segments are zeros.
  //                                                              logits [T, n], lists [T, any], sums [T, any]
  virtual void WeighSegments(TensorView<const float> logits, TensorView<const Candidate> lists,
                             absl::Span<const SampleRow> rows_host, TensorView<uint64_t> sums) = 0;
  // found[t][0] = {0, the column that Sample draws} if it is one of this device's, else -infinity; the others of found[t]
  // are -infinity. sums[t] holds all devices' WeighSegments, this one's from `own` on. A row that takes the largest has
  // ids[t] for its column, on every device.
  //                     logits, lists as above, sums [T, any], ids [1, T], found [T, any]
  virtual void DrawSpread(TensorView<const float> logits, int64_t first, TensorView<const Candidate> lists,
                          TensorView<const uint64_t> sums, int64_t own, absl::Span<const SampleRow> rows_host,
                          TensorView<const int32_t> ids, TensorView<Candidate> found) = 0;

  // Wire formats of float rows (NUMERICS). One row of n channels takes WireRowBytes(format, n) bytes.
  // int8: per 128 channels a bf16 scale s = absmax / 127 rounded up to bf16, code = clip(rint(x / s), -127, 127).
  // int4: per 32 channels a bf16 minimum (rounded down) and step s = (max - min) / 15 (rounded up),
  //       code = clip(rint((x - min) / s), 0, 15). The last group of a row may be short.
  virtual void EncodeInt8(TensorView<const float> x, TensorView<uint8_t> wire) = 0;
  virtual void EncodeInt4(TensorView<const float> x, TensorView<uint8_t> wire) = 0;
  // x (+)= the decoded rows: added when `add`, else stored.
  virtual void DecodeInt8(TensorView<const uint8_t> wire, bool add, TensorView<float> x) = 0;
  virtual void DecodeInt4(TensorView<const uint8_t> wire, bool add, TensorView<float> x) = 0;
  // sum += part, exact.                                         [T, n]
  virtual void AddInt32(TensorView<const int32_t> part, TensorView<int32_t> sum) = 0;

  // Of all products with kByInput matrices, and of `up` in GatedRelu2, since the start; zeros where it is not counted (CUDA).
  // May be called on any thread.
  virtual WeightSkips weight_skips() const = 0;
};

// Bytes of one encoded row of n channels: per group its bf16 header(s), then its codes.
int64_t WireRowBytesInt8(int64_t channels);
int64_t WireRowBytesInt4(int64_t channels);

// The CPU backend with `threads` threads, the caller's own among them.
std::unique_ptr<Backend> MakeCpuBackend(int threads);

// The CUDA backend on a device of this host, or why there is none.
absl::StatusOr<std::unique_ptr<Backend>> MakeCudaBackend(int device);

}  // namespace ternion
