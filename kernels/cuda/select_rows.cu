// Rows and columns to other places: pure copies, in the widest words that all addresses allow.
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/rows.cuh"

namespace ternion::cuda {
namespace {

constexpr int kCopyThreads = 256;

struct CopyWork {
  const char* from = nullptr;
  int64_t from_stride_bytes = 0;
  const int32_t* rows = nullptr;  // which row of `from` each row is; null: the same
  char* to = nullptr;
  int64_t to_stride_bytes = 0;
  int64_t row_bytes = 0;  // what is copied of a row
};

template <typename Word>
__global__ void CopyRow(CopyWork work) {
  StartNext();
  WaitForPrevious();
  const int64_t row = blockIdx.x, source = work.rows == nullptr ? row : work.rows[row];
  const int64_t i = int64_t{blockIdx.y} * kCopyThreads + threadIdx.x;
  if (i >= work.row_bytes / static_cast<int64_t>(sizeof(Word))) return;
  const auto* const from = reinterpret_cast<const Word*>(work.from + source * work.from_stride_bytes);
  auto* const to = reinterpret_cast<Word*>(work.to + row * work.to_stride_bytes);
  to[i] = from[i];
}

template <typename Word>
bool Fits(const CopyWork& work) {
  const auto bits = reinterpret_cast<uintptr_t>(work.from) | reinterpret_cast<uintptr_t>(work.to) |
                    static_cast<uintptr_t>(work.from_stride_bytes | work.to_stride_bytes | work.row_bytes);
  return bits % sizeof(Word) == 0;
}

template <typename Word>
void LaunchCopy(const Stream& stream, int64_t rows, const CopyWork& work) {
  const int64_t words = work.row_bytes / static_cast<int64_t>(sizeof(Word));
  const dim3 grid(static_cast<unsigned>(rows), static_cast<unsigned>(CeilDivide(words, kCopyThreads)));
  Launch(stream, CopyRow<Word>, {grid, dim3(kCopyThreads)}, work);
}

void CopyRows(const Stream& stream, int64_t rows, const CopyWork& work) {
  if (Fits<uint4>(work)) return LaunchCopy<uint4>(stream, rows, work);
  if (Fits<uint32_t>(work)) return LaunchCopy<uint32_t>(stream, rows, work);
  LaunchCopy<uint16_t>(stream, rows, work);
}

template <typename T>
CopyWork Between(TensorView<const T> from, T* to, int64_t to_cols) {
  CopyWork work;
  work.from = reinterpret_cast<const char*>(from.data());
  work.from_stride_bytes = work.row_bytes = from.cols() * static_cast<int64_t>(sizeof(T));
  work.to = reinterpret_cast<char*>(to);
  work.to_stride_bytes = to_cols * static_cast<int64_t>(sizeof(T));
  return work;
}

}  // namespace

void CudaBackend::SelectRows(TensorView<const float> x, absl::Span<const int32_t> rows_host,
                             TensorView<float> out) {
  CHECK(out.rows() == static_cast<int64_t>(rows_host.size()) && out.cols() == x.cols(), "SelectRows shapes");
  for (int32_t row : rows_host) CHECK(row >= 0 && row < x.rows(), "SelectRows: no such row");
  if (out.empty()) return;
  CopyWork work = Between(x, out.data(), out.cols());
  work.rows = staging_.Upload(rows_host);
  CopyRows(stream_, out.rows(), work);
}

void CudaBackend::PickRows(TensorView<const BFloat16> table, absl::Span<const int32_t> rows_host,
                           TensorView<BFloat16> out) {
  CHECK(out.rows() == static_cast<int64_t>(rows_host.size()) && out.cols() == table.cols(),
        "PickRows shapes");
  for (int32_t row : rows_host) CHECK(row >= 0 && row < table.rows(), "PickRows: no such row");
  if (out.empty()) return;
  CopyWork work = Between(table, out.data(), out.cols());
  work.rows = staging_.Upload(rows_host);
  CopyRows(stream_, out.rows(), work);
}

void CudaBackend::CopyColumns(TensorView<const float> from, int64_t column, TensorView<float> to) {
  CHECK(from.rows() == to.rows() && column >= 0 && column + from.cols() <= to.cols(), "CopyColumns shapes");
  if (from.empty()) return;
  CopyRows(stream_, from.rows(), Between(from, to.data() + column, to.cols()));
}

}  // namespace ternion::cuda
