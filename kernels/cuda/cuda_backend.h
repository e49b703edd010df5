#pragma once

#include <cuda_runtime.h>

#include <list>
#include <map>
#include <memory>
#include <set>

#include "kernels/backend.h"
#include "kernels/cuda/device_memory.h"
#include "kernels/cuda/kv_slices.h"
#include "kernels/cuda/launch.h"

namespace ternion::cuda {

// Intermediate results of operations. Operations run in order, so each may use a purpose's memory as its own; what one
// hands to another has a purpose of its own. kCounters is zero between operations: whoever counts sets it back.
enum class Purpose { kCodes, kSums, kPartials, kCounters, kCount };

// Each operation is defined in the file of its name beside this one; contracts are in kernels/backend.h. One device, one
// stream; used by one thread at a time.
class CudaBackend final : public Backend {
 public:
  // kUnavailable when this host has no such device or no driver.
  static absl::StatusOr<std::unique_ptr<Backend>> Create(int device);
  ~CudaBackend() override;

  absl::StatusOr<Buffer> Allocate(size_t bytes) override;
  void CopyFromHost(void* device, const void* host, size_t bytes) override;
  void CopyToHost(void* host, const void* device, size_t bytes) override;
  void Copy(void* to, const void* from, size_t bytes) override;
  void Synchronize() override;
  void* stream() const override { return stream_.handle; }
  KvSlices UploadSlices(absl::Span<const KvSlice> slices_host) override;
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
  WeightSkips weight_skips() const override { return {}; }

  const Stream& launch_stream() const { return stream_; }
  int device() const { return device_; }
  int multiprocessors() const { return properties_.multiProcessorCount; }
  const cudaDeviceProp& properties() const { return properties_; }
  // Device memory of at least n elements; contents are what the purpose's last user left.
  template <typename T>
  T* Scratch(Purpose purpose, int64_t n) {
    return static_cast<T*>(
        scratch_[static_cast<size_t>(purpose)].Reserve(static_cast<size_t>(n) * sizeof(T)));
  }
  StagingRing& staging() { return staging_; }

 private:
  CudaBackend(int device, cudaStream_t stream, const cudaDeviceProp& properties);

  struct DestroyGraph {
    void operator()(cudaGraphExec_t graph) const { cudaGraphExecDestroy(graph); }
  };
  using Graph = std::unique_ptr<CUgraphExec_st, DestroyGraph>;

  absl::StatusOr<Graph> Record(absl::FunctionRef<absl::Status()> body);
  // Attention; with cos_sin it turns the queries and keys, writes these and the values to the cache, and attends.
  void Attend(TensorView<const float> qkv, const HeadShard& heads, const KvSlices& slices,
              const KvLayer& cache, const float* cos_sin, TensorView<float> out);

  const int device_;
  const Stream stream_;
  const cudaDeviceProp properties_;
  GrowingMemory scratch_[static_cast<size_t>(Purpose::kCount)];
  StagingRing staging_;
  std::set<uint64_t> seen_;  // keys whose body ran once, unrecorded
  std::map<uint64_t, Graph> graphs_;
  std::list<uint64_t> recorded_;  // keys of graphs_, the oldest first
  UploadedSlices slices_;         // of the step
};

}  // namespace ternion::cuda
