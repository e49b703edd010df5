#pragma once

#include <functional>

#include "kernels/backend.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/thread_pool.h"
#include "kernels/cpu/weight_skip_counter.h"

namespace ternion::cpu {

// Each operation is defined in the file of its name beside this one; contracts are in kernels/backend.h.
class CpuBackend final : public Backend {
 public:
  CpuBackend(int threads, Isa isa) : pool_(threads), isa_(isa) {}

  absl::StatusOr<Buffer> Allocate(size_t bytes) override;
  void CopyFromHost(void* device, const void* host, size_t bytes) override;
  void CopyToHost(void* host, const void* device, size_t bytes) override;
  void Copy(void* to, const void* from, size_t bytes) override;
  void Synchronize() override {}
  void* stream() const override { return nullptr; }
  KvSlices UploadSlices(absl::Span<const KvSlice> slices_host) override { return {slices_host, 0}; }
  absl::StatusOr<bool> Replay(uint64_t key, absl::FunctionRef<absl::Status()> body) override;

  void GatherRows(TensorView<const BFloat16> table, absl::Span<const int32_t> rows_host,
                  TensorView<const int32_t> drawn, TensorView<float> out) override;
  void SelectRows(TensorView<const float> x, absl::Span<const int32_t> rows_host,
                  TensorView<float> out) override;
  void PickRows(TensorView<const BFloat16> table, absl::Span<const int32_t> rows_host,
                TensorView<BFloat16> out) override;
  void CopyColumns(TensorView<const float> from, int64_t column, TensorView<float> to) override;
  void SumSquares(TensorView<const float> x, int segment, TensorView<float> out) override;
  void RmsNorm(TensorView<const float> x, TensorView<const float> sums, int64_t width, float eps,
               TensorView<const float> weight, TensorView<float> y) override;
  void RowSums(TensorView<const float> sums, TensorView<float> out) override;
  void InverseRms(TensorView<const float> sum, int64_t width, float eps, TensorView<float> out) override;
  void ScaleColumns(TensorView<const float> x, TensorView<const float> weight, TensorView<float> y) override;
  void RowAbsMax(TensorView<const float> x, TensorView<float> out) override;
  void QuantizeInt8(TensorView<const float> x, TensorView<const float> absmax, float floor,
                    QuantizedRows out) override;
  void QuantizeInt4(TensorView<const float> x, QuantizedRows out) override;
  void PackInt4(TensorView<const int8_t> codes, TensorView<uint8_t> packed) override;
  void UnpackInt4(TensorView<const uint8_t> packed, TensorView<int8_t> codes) override;
  void KthMagnitude(TensorView<const float> x, int64_t k, TensorView<float> threshold) override;
  void ZeroBelow(TensorView<const float> threshold, TensorView<float> x) override;
  void NormQuantize(TensorView<const float> x, float eps, TensorView<const float> weight, bool int4,
                    QuantizedRows out) override;
  void SubNormQuantize(const RowInput& how, TensorView<float> x, QuantizedRows out) override;
  absl::StatusOr<PackedTernary> PackTernary(TernaryLayout layout, int64_t outputs, int64_t inputs,
                                            TritReader reader) override;
  void TernaryMatmul(const PackedTernary& w, TensorView<const int8_t> codes,
                     TensorView<int32_t> out) override;
  void Dequantize(TensorView<const int32_t> sums, TensorView<const float> row_scale,
                  TensorView<const float> weight_scale, TensorView<float> y) override;
  void TernaryLinear(const PackedTernary& w, QuantizedRows x, TensorView<const float> weight_scale, bool add,
                     TensorView<float> y) override;
  void GatedRelu2(const PackedTernary& gate, const PackedTernary& up, QuantizedRows x,
                  TensorView<const float> gate_scale, TensorView<const float> up_scale,
                  TensorView<float> y) override;
  void GatedSilu(const PackedTernary& gate, const PackedTernary& up, QuantizedRows x,
                 TensorView<const float> gate_scale, TensorView<const float> up_scale,
                 TensorView<float> y) override;
  absl::StatusOr<PackedUniform> PackUniform(const UniformFormat& format, int64_t outputs, int64_t inputs,
                                            UniformReader reader) override;
  void UniformLinear(const PackedUniform& w, TensorView<const float> x, TensorView<const float> bias,
                     bool add, TensorView<float> y) override;
  void DenseLinear(const DenseMatrix& w, TensorView<const float> x, TensorView<const float> bias, bool add,
                   TensorView<float> y) override;
  void SiluMultiply(TensorView<const float> gate, TensorView<const float> up, TensorView<float> y) override;
  void Add(TensorView<const float> y, TensorView<float> x) override;
  void Maximum(TensorView<const float> y, TensorView<float> x) override;
  void ScaleRows(TensorView<const float> factor, TensorView<float> x) override;
  void Rope(TensorView<float> x, int64_t column, int heads, int head_dim, TensorView<const float> cos_sin,
            const KvSlices& slices) override;
  void WriteKv(TensorView<const float> qkv, const HeadShard& heads, const KvSlices& slices,
               const KvLayer& cache) override;
  void RopeWriteKv(TensorView<float> qkv, const HeadShard& heads, TensorView<const float> cos_sin,
                   const KvSlices& slices, const KvLayer& cache) override;
  void Attention(TensorView<const float> qkv, const HeadShard& heads, const KvSlices& slices,
                 const KvLayer& cache, TensorView<float> out) override;
  void RopeAttention(TensorView<float> qkv, const HeadShard& heads, TensorView<const float> cos_sin,
                     const KvSlices& slices, const KvLayer& cache, TensorView<float> out) override;
  void Head(TensorView<const float> x, TensorView<const BFloat16> table, TensorView<float> logits) override;
  void ArgMax(TensorView<const float> logits, TensorView<int32_t> ids) override;
  void ChangeLogits(TensorView<float> logits, absl::Span<const LogitChange> changes_host,
                    TensorView<float> before) override;
  void RestoreLogits(TensorView<const float> before, absl::Span<const LogitChange> changes_host,
                     TensorView<float> logits) override;
  void MaskLogits(TensorView<float> logits, absl::Span<const int32_t> rows_host,
                  absl::Span<const uint32_t> words_host) override;
  void Logprobs(TensorView<const float> logits, absl::Span<const LogprobRow> rows_host,
                TensorView<const int32_t> ids, TensorView<int32_t> top_ids,
                TensorView<float> logprobs) override;
  void Sample(TensorView<const float> logits, absl::Span<const SampleRow> rows_host,
              TensorView<int32_t> ids) override;
  void Shortlist(TensorView<const float> logits, int64_t first, absl::Span<const int32_t> counts_host,
                 TensorView<Candidate> lists) override;
  void SampleListed(TensorView<const Candidate> lists, absl::Span<const SampleRow> rows_host,
                    TensorView<int32_t> ids) override;
  void WeighSegments(TensorView<const float> logits, TensorView<const Candidate> lists,
                     absl::Span<const SampleRow> rows_host, TensorView<uint64_t> sums) override;
  void DrawSpread(TensorView<const float> logits, int64_t first, TensorView<const Candidate> lists,
                  TensorView<const uint64_t> sums, int64_t own, absl::Span<const SampleRow> rows_host,
                  TensorView<const int32_t> ids, TensorView<Candidate> found) override;
  void EncodeInt8(TensorView<const float> x, TensorView<uint8_t> wire) override;
  void EncodeInt4(TensorView<const float> x, TensorView<uint8_t> wire) override;
  void DecodeInt8(TensorView<const uint8_t> wire, bool add, TensorView<float> x) override;
  void DecodeInt4(TensorView<const uint8_t> wire, bool add, TensorView<float> x) override;
  void AddInt32(TensorView<const int32_t> part, TensorView<int32_t> sum) override;
  WeightSkips weight_skips() const override { return weight_skips_.Read(); }

  ThreadPool& pool() { return pool_; }
  Isa isa() const { return isa_; }

 private:
  ThreadPool pool_;
  Isa isa_;
  WeightSkipCounter weight_skips_;
};

}  // namespace ternion::cpu
