#include "kernels/peer_exchange.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/check.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/peer_memory.h"
#include "kernels/cuda/peer_reduce.h"
#include "kernels/cuda/peer_rows.h"
#include "kernels/status.h"

namespace ternion::cuda {
namespace {

// The two kinds of exchange have an inbox each and take turns, so that a peer which is one exchange ahead writes to the
// other one: it cannot be further ahead, since each of its exchanges waits for this device's part of it.
class CudaPeerExchange final : public PeerExchange {
 public:
  CudaPeerExchange(CudaBackend& backend, PeerMemory memory, int64_t tokens, int64_t width, int64_t hidden)
      : backend_(backend),
        memory_(std::move(memory)),
        tokens_(tokens),
        row_words_(tokens * width),
        sum_words_(tokens * hidden) {}

  int64_t most_tokens() const override { return tokens_; }

  bool Takes(const RowInput& how, absl::Span<const int64_t> columns) const override {
    return PeerRowsFit(backend_, how, columns);
  }

  void SubNormQuantize(const RowInput& how, absl::Span<const int64_t> columns, TensorView<const float> mine,
                       QuantizedRows out) override {
    PeerSubNormQuantize(backend_, memory_.inboxes(), SumInbox(), row_words_, how, columns, mine, out);
  }

  void ReduceAdd(TensorView<const int32_t> partial, TensorView<const float> row_scale,
                 TensorView<const float> weight_scale, TensorView<float> residual) override {
    PeerReduceAdd(backend_.launch_stream(), memory_.inboxes(), sum_words_, partial, row_scale, weight_scale,
                  residual);
  }

  absl::Status Health() const override {
    if (!memory_.faulted()) return absl::OkStatus();
    return absl::UnavailableError(
        absl::StrCat("a peer's part of an exchange did not come within ", kPeerPatienceSeconds, " s"));
  }

 private:
  // Words of the sums' inbox, which lies before the rows'.
  int64_t SumInbox() const { return memory_.inboxes().ranks * sum_words_; }

  CudaBackend& backend_;
  PeerMemory memory_;
  const int64_t tokens_;
  const int64_t row_words_;  // of the rows' inbox for one member
  const int64_t sum_words_;
};

}  // namespace
}  // namespace ternion::cuda

namespace ternion {

absl::StatusOr<std::unique_ptr<PeerExchange>> MakeCudaPeerExchange(Backend& backend, int rank, int ranks,
                                                                   int64_t tokens, int64_t width,
                                                                   int64_t hidden, GatherStrings gather) {
  auto* const cuda = dynamic_cast<cuda::CudaBackend*>(&backend);
  CHECK(cuda != nullptr, "peers exchange between CUDA backends");
  CHECK(tokens > 0 && width > 0 && hidden > 0 && width % 4 == 0 && hidden % 4 == 0, "rows come in fours");
  const auto words = static_cast<size_t>(ranks * tokens * (width + hidden));
  TERNION_ASSIGN_OR_RETURN(cuda::PeerMemory memory, cuda::PeerMemory::Create(rank, ranks, words, gather));
  return std::make_unique<cuda::CudaPeerExchange>(*cuda, std::move(memory), tokens, width, hidden);
}

}  // namespace ternion
