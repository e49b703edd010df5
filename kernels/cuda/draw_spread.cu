// Draws from rows of which a device has some segments: a block a row finds the segment from the sums of all devices, then, where
// it is its own, the column.
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/draw_row.cuh"

namespace ternion::cuda {
namespace {

constexpr int kThreads = static_cast<int>(kVocabSegment);

struct SpreadWork {
  const float* logits;  // [rows, n]
  int n;
  int first;
  const Candidate* lists;  // [rows, k]
  int k;
  const uint64_t* sums;  // [rows, segments]
  int segments;
  int own;
  const SampleRow* rows;
  const int32_t* ids;
  Candidate* found;  // [rows, places]
  int places;
};

// The column of this device that is drawn; -1: another device has it.
__device__ int FindColumn(const SpreadWork& work, int64_t t, const SampleRow& how) {
  const uint64_t* const sums = work.sums + t * work.segments;
  uint64_t sum = 0;
  for (int s = static_cast<int>(threadIdx.x); s < work.segments; s += kThreads) sum += sums[s];
  const auto target = static_cast<uint64_t>(how.uniform * static_cast<double>(BlockSum<kThreads>(sum)));
  Crossing<kThreads> segments(target);
  for (int begin = 0; begin < work.segments; begin += kThreads) {
    const int s = begin + static_cast<int>(threadIdx.x);
    if (segments.Take(s, s < work.segments ? sums[s] : 0)) break;
  }
  const auto [segment, before, exceeded] = segments.Find();
  const int column = (segment - work.own) * kThreads + static_cast<int>(threadIdx.x);
  if (segment < work.own || (segment - work.own) * kThreads >= work.n) return -1;
  const Weights weights(MostLogit(ListedRow{work.lists + t * work.k, work.k}), how, how.min_p);
  Crossing<kThreads> columns(exceeded ? target - before : ~uint64_t{0});
  columns.Take(column, column < work.n ? weights.Of(work.logits[t * work.n + column]) : 0);
  return columns.Find().place;
}

__global__ void __launch_bounds__(kThreads) DrawSpreadKernel(const __grid_constant__ SpreadWork work) {
  StartNext();
  WaitForPrevious();
  const int64_t t = blockIdx.x;
  const SampleRow how = work.rows[t];
  const int column = how.takes_largest() ? work.ids[t] : FindColumn(work, t, how);
  const int first = how.takes_largest() ? 0 : work.first;
  for (int i = static_cast<int>(threadIdx.x); i < work.places; i += kThreads) {
    const bool here = i == 0 && column >= 0;
    work.found[t * work.places + i] = here ? Candidate{0, first + column} : Candidate{-INFINITY, 0};
  }
}

}  // namespace

void CudaBackend::DrawSpread(TensorView<const float> logits, int64_t first, TensorView<const Candidate> lists,
                             TensorView<const uint64_t> sums, int64_t own,
                             absl::Span<const SampleRow> rows_host, TensorView<const int32_t> ids,
                             TensorView<Candidate> found) {
  const int64_t rows = logits.rows();
  CHECK(lists.rows() == rows && sums.rows() == rows && static_cast<int64_t>(rows_host.size()) == rows &&
            ids.size() == rows && found.rows() == rows && found.cols() > 0,
        "DrawSpread shapes");
  if (rows == 0) return;
  const SpreadWork work = {logits.data(),
                           static_cast<int>(logits.cols()),
                           static_cast<int>(first),
                           lists.data(),
                           static_cast<int>(lists.cols()),
                           sums.data(),
                           static_cast<int>(sums.cols()),
                           static_cast<int>(own),
                           staging_.Upload(rows_host),
                           ids.data(),
                           found.data(),
                           static_cast<int>(found.cols())};
  Launch(stream_, DrawSpreadKernel, {dim3(static_cast<unsigned>(rows)), dim3(kThreads)}, work);
}

}  // namespace ternion::cuda
