// Draws from rows of logits: one block a row, which stays in L2 while the block passes over it a dozen times. What is kept is
// told by one threshold on the logits, ordered as integers: all columns above it, and of those equal to it the first few.
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/draw_row.cuh"

namespace ternion::cuda {
namespace {

// The weight of what is kept.
template <typename Columns>
__device__ uint64_t KeptWeight(const Columns& row, const Threshold& kept, const Weights& weights) {
  const auto weigh = [&](float logit) { return weights.Of(logit); };
  const uint64_t each = kept.equals > 0 ? weights.Of(LogitOfOrder(kept.order)) : 0;
  return SumAbove(row, kept.order, weigh) + static_cast<uint64_t>(kept.equals) * each;
}

// Of the kept columns the fewest that reach p of their weight.
template <typename Columns>
__device__ Threshold KeepTopP(const Columns& row, const Threshold& kept, const Weights& weights, float p) {
  const auto weigh = [&](float logit) { return weights.Of(logit); };
  const uint64_t whole = KeptWeight(row, kept, weights);
  const auto enough = static_cast<uint64_t>(ceil(static_cast<double>(whole) * static_cast<double>(p)));
  Threshold narrowed;
  narrowed.order = OrderThatReaches(row, max(enough, uint64_t{1}), weigh);
  const uint64_t above = SumAbove(row, narrowed.order, weigh);
  const uint64_t each = weights.Of(LogitOfOrder(narrowed.order));
  const uint64_t missing = enough > above ? enough - above : 0;
  const auto equals = static_cast<int>((missing + each - 1) / max(each, uint64_t{1}));
  narrowed.equals = max(equals, above == 0 ? 1 : 0);
  if (narrowed.order == kept.order) narrowed.equals = min(narrowed.equals, kept.equals);
  return narrowed;
}

template <typename Columns>
__device__ int Draw(const Columns& row, const SampleRow& how) {
  const float most = MostLogit(row);
  Threshold kept;
  if (how.takes_largest()) {
    kept = {OrderOf(most), 1};
  } else if (how.top_k > 0 && how.top_k < row.n) {
    kept = LargestOfAll(row, how.top_k);
  }
  if (!how.takes_largest() && how.top_p < 1.0f) kept = KeepTopP(row, kept, Weights(most, how, 0), how.top_p);
  const Weights weights(most, how, how.takes_largest() ? 0 : how.min_p);
  const uint64_t whole = KeptWeight(row, kept, weights);
  Crossing<kDrawThreads> crossing(static_cast<uint64_t>(how.uniform * static_cast<double>(whole)));
  VisitKept(row, kept,
            [&](int i, bool keep) { return crossing.Take(i, keep ? weights.Of(row.Logit(i)) : 0); });
  return row.Column(crossing.Find().place);
}

__global__ void __launch_bounds__(kDrawThreads)
    SampleKernel(const float* logits, int n, const SampleRow* rows, int32_t* ids) {
  StartNext();
  WaitForPrevious();
  const int column = Draw(WholeRow{logits + int64_t{blockIdx.x} * n, n}, rows[blockIdx.x]);
  if (threadIdx.x == 0) ids[blockIdx.x] = column;
}

__global__ void __launch_bounds__(kDrawThreads)
    SampleListedKernel(const Candidate* lists, int n, const SampleRow* rows, int32_t* ids) {
  StartNext();
  WaitForPrevious();
  const int column = Draw(ListedRow{lists + int64_t{blockIdx.x} * n, n}, rows[blockIdx.x]);
  if (threadIdx.x == 0) ids[blockIdx.x] = column;
}

}  // namespace

void CudaBackend::Sample(TensorView<const float> logits, absl::Span<const SampleRow> rows_host,
                         TensorView<int32_t> ids) {
  CHECK(ids.size() == logits.rows() && static_cast<int64_t>(rows_host.size()) == logits.rows(),
        "Sample shapes");
  CHECK(logits.cols() > 0 && logits.cols() < (int64_t{1} << 22), "Sample: the weights of a row fit 63 bits");
  if (logits.rows() == 0) return;
  const SampleRow* const rows = staging_.Upload(rows_host);
  Launch(stream_, SampleKernel, {dim3(static_cast<unsigned>(logits.rows())), dim3(kDrawThreads)},
         logits.data(), static_cast<int>(logits.cols()), rows, ids.data());
}

void CudaBackend::SampleListed(TensorView<const Candidate> lists, absl::Span<const SampleRow> rows_host,
                               TensorView<int32_t> ids) {
  CHECK(ids.size() == lists.rows() && static_cast<int64_t>(rows_host.size()) == lists.rows() &&
            lists.cols() > 0,
        "SampleListed shapes");
  if (lists.rows() == 0) return;
  const SampleRow* const rows = staging_.Upload(rows_host);
  Launch(stream_, SampleListedKernel, {dim3(static_cast<unsigned>(lists.rows())), dim3(kDrawThreads)},
         lists.data(), static_cast<int>(lists.cols()), rows, ids.data());
}

}  // namespace ternion::cuda
