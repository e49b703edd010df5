#include "kernels/peer_exchange.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/check.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/embedded_rows.cuh"
#include "kernels/cuda/peer_blocks.h"
#include "kernels/cuda/peer_codes.h"
#include "kernels/cuda/peer_columns.h"
#include "kernels/cuda/peer_memory.h"
#include "kernels/cuda/peer_norm.h"
#include "kernels/cuda/peer_reduce.h"
#include "kernels/cuda/peer_rounded.h"
#include "kernels/cuda/peer_rows.h"
#include "kernels/cuda/peer_share.h"
#include "kernels/cuda/peer_table.h"
#include "kernels/status.h"

namespace ternion::cuda {
namespace {

// Of all sections of an inbox: for any number of rows, and for rows whose largest channels are to be found. More rows than
// that go in slices.
constexpr int64_t kBlockWords = int64_t{8} << 20;
constexpr int64_t kSelectionWords = int64_t{4} << 20;
constexpr int64_t kColumnWords = int64_t{2} << 20;

// Where the inboxes lie in a device's memory, in words. Of each kind there are two that take turns, so that a peer which
// is one exchange ahead writes to another one: it cannot be further ahead, since each of its exchanges waits for this
// device's part of it.
class InboxPlan {
 public:
  InboxPlan(int ranks, int64_t tokens, int64_t width, int64_t hidden)
      : row_words(tokens * width), sum_words(tokens * hidden), ranks_(ranks) {}

  int64_t Rows(int turn) const { return turn * ranks_ * row_words; }
  int64_t Sums(int turn) const { return Rows(2) + turn * ranks_ * sum_words; }
  BlockInbox Blocks(const PeerInboxes& peers, int turn) const {
    return {peers, Sums(2) + turn * kBlockWords, SectionWords(kBlockWords)};
  }
  SelectionInbox Selection(const PeerInboxes& peers, int turn) const {
    return {{peers, SelectionBegin(turn), SectionWords(kSelectionWords)},
            SelectionBegin(turn) + kSelectionWords};
  }
  BlockInbox Columns(const PeerInboxes& peers, int turn) const {
    return {peers, SelectionBegin(2) + turn * kColumnWords, SectionWords(kColumnWords)};
  }
  int64_t Words() const { return SelectionBegin(2) + 2 * kColumnWords; }

  const int64_t row_words;  // for one member
  const int64_t sum_words;

 private:
  int64_t SelectionBegin(int turn) const {
    return Sums(2) + 2 * kBlockWords + turn * (kSelectionWords + ranks_ * kSelectionRows);
  }
  int64_t SectionWords(int64_t words) const { return words / (ranks_ - 1) / 64 * 64; }

  const int64_t ranks_;
};

// Counts up to two and begins again.
class Turn {
 public:
  int Next() { return std::exchange(turn_, 1 - turn_); }

 private:
  int turn_ = 0;
};

class CudaPeerExchange final : public PeerExchange {
 public:
  CudaPeerExchange(CudaBackend& backend, PeerMemory memory, int64_t tokens, const InboxPlan& plan)
      : backend_(backend), memory_(std::move(memory)), tokens_(tokens), plan_(plan) {}

  int64_t most_tokens() const override { return tokens_; }

  bool Takes(const RowInput& how, absl::Span<const int64_t> columns) const override {
    return PeerRowsFit(backend_, how, columns);
  }

  void SubNormQuantize(const RowInput& how, absl::Span<const int64_t> columns, TensorView<const float> mine,
                       QuantizedRows out) override {
    PeerSubNormQuantize(backend_, memory_.inboxes(), plan_.Rows(rows_.Next()), plan_.row_words, how, columns,
                        mine, out);
  }

  void ReduceAdd(TensorView<const int32_t> partial, TensorView<const float> row_scale,
                 TensorView<const float> weight_scale, TensorView<float> residual) override {
    PeerReduceAdd(backend_.launch_stream(), memory_.inboxes(), plan_.Sums(sums_.Next()), plan_.sum_words,
                  partial, row_scale, weight_scale, residual);
  }

  bool TakesNorm(int64_t n) const override { return PeerNormFits(backend_, n); }

  void ReduceAddNormQuantize(TensorView<const int32_t> partial, TensorView<const float> row_scale,
                             TensorView<const float> weight_scale, TensorView<float> residual, float eps,
                             TensorView<const float> norm_weight, bool int4, QuantizedRows out) override {
    PeerReduceNorm(backend_, memory_.inboxes(), plan_.Sums(sums_.Next()), plan_.sum_words,
                   {partial, row_scale, weight_scale, residual, eps, norm_weight, int4, out});
  }

  bool TakesRows(int64_t n) const override { return n % kBlockRowUnit == 0; }

  void ReduceRounded(const RoundedRows& rows, TensorView<float> sum, float* extra_sum) override {
    RoundedSums sums;
    sums.to = sum.data();
    sums.extra_sum = extra_sum;
    Reduce(rows, sum, sums);
  }

  void ReduceRoundedAdd(const RoundedRows& rows, int64_t width, float eps,
                        TensorView<float> residual) override {
    RoundedSums sums;
    sums.to = residual.data();
    sums.add = true;
    sums.width = static_cast<float>(width);
    sums.eps = eps;
    Reduce(rows, residual, sums);
  }

  void GatherCodes(bool int4, absl::Span<const Range> owned,
                   BasicQuantizedRows<const int8_t, const float> mine, QuantizedRows all) override {
    CheckOwned(owned, mine.codes.rows());
    CHECK(all.codes.cols() == mine.codes.cols() && all.scales.size() == all.codes.rows(),
          "GatherCodes shapes");
    PeerGatherCodes(
        backend_, [this] { return NextBlocks(); }, int4, owned, mine, all);
  }

  bool TakesColumns(absl::Span<const int64_t> columns) const override {
    return std::all_of(columns.begin(), columns.end(), [](int64_t c) { return c % 4 == 0; });
  }

  void GatherColumns(absl::Span<const int64_t> columns, TensorView<const float> mine,
                     TensorView<float> all) override {
    CHECK(TakesColumns(columns) && mine.cols() == columns[static_cast<size_t>(memory_.inboxes().rank)],
          "GatherColumns: this member's columns");
    CHECK(all.rows() == mine.rows() &&
              all.cols() == std::accumulate(columns.begin(), columns.end(), int64_t{0}),
          "GatherColumns shapes");
    PeerGatherColumns(
        backend_, [this] { return plan_.Columns(memory_.inboxes(), columns_.Next()); }, columns, mine, all);
  }

  absl::Status OpenTable(TensorView<const BFloat16> mine, absl::Span<const Range> rows,
                         GatherStrings gather) override {
    const PeerInboxes& peers = memory_.inboxes();
    CHECK(static_cast<int>(rows.size()) == peers.ranks && mine.rows() == rows[peers.rank].size(),
          "OpenTable: every member's rows");
    backend_.Synchronize();  // it is there when another member reads it
    TERNION_ASSIGN_OR_RETURN(table_memory_,
                             MappedPeers::Map(peers.rank, peers.ranks, const_cast<BFloat16*>(mine.data()),
                                              absl::OkStatus(), gather));
    table_.ranks = peers.ranks;
    table_.cols = mine.cols();
    for (int r = 0; r < peers.ranks; ++r) {
      table_.of[r] = static_cast<const BFloat16*>(table_memory_.of(r));
      table_.begin[r + 1] = rows[static_cast<size_t>(r)].end;
    }
    return absl::OkStatus();
  }

  bool has_table() const override { return table_.ranks > 0; }

  void EmbedRows(absl::Span<const int32_t> rows_host, TensorView<const int32_t> drawn,
                 TensorView<float> out) override {
    CHECK(out.rows() == static_cast<int64_t>(rows_host.size()) && out.cols() == table_.cols,
          "EmbedRows shapes");
    CheckRows(rows_host, table_.rows(), drawn);
    PeerEmbedRows(backend_.launch_stream(), table_, backend_.staging().Upload(rows_host), drawn.data(), out);
  }

  bool QuantizeShare(const RowInput& how, absl::Span<const int64_t> columns, float floor,
                     TensorView<const float> x, TensorView<float> squares, QuantizedRows out) override {
    const int64_t width = std::accumulate(columns.begin(), columns.end(), int64_t{0});
    CHECK(x.cols() == columns[static_cast<size_t>(memory_.inboxes().rank)],
          "QuantizeShare: this member's columns");
    CHECK(out.codes.rows() == x.rows() && out.codes.cols() == x.cols(), "QuantizeShare shapes");
    CHECK(out.scales.size() == x.rows() && how.keep >= 1, "QuantizeShare shapes");
    CHECK(how.weight.empty() || (how.weight.size() == x.cols() && squares.size() == x.rows()),
          "QuantizeShare shapes");
    const ShareRows rows{how, columns, floor, x, squares, out};
    if (how.keep >= width) return QuantizeWholeShare(backend_, rows);
    Turn turn;  // its own: another exchange lies between this and the last one
    return QuantizeLargestShare(
        backend_, [&] { return plan_.Selection(memory_.inboxes(), turn.Next()); }, rows);
  }

  absl::Status Health() const override {
    if (!memory_.faulted()) return absl::OkStatus();
    return absl::UnavailableError(
        absl::StrCat("a peer's part of an exchange did not come within ", kPeerPatienceSeconds, " s"));
  }

 private:
  BlockInbox NextBlocks() { return plan_.Blocks(memory_.inboxes(), blocks_.Next()); }

  void CheckOwned(absl::Span<const Range> owned, int64_t rows) const {
    CHECK(static_cast<int>(owned.size()) == memory_.inboxes().ranks, "every member owns rows");
    CHECK(rows == owned[static_cast<size_t>(memory_.inboxes().rank)].size(), "a tensor of the owned rows");
  }

  void Reduce(const RoundedRows& rows, TensorView<const float> to, const RoundedSums& sums) {
    CheckOwned(rows.owned, to.rows());
    CHECK(to.cols() == rows.partial.cols() && TakesRows(to.cols()), "rounded sums' shapes");
    PeerReduceRounded(
        backend_, [this] { return NextBlocks(); }, rows, sums);
  }

  CudaBackend& backend_;
  PeerMemory memory_;
  const int64_t tokens_;
  const InboxPlan plan_;
  Turn rows_;
  Turn sums_;
  Turn blocks_;
  Turn columns_;
  MappedPeers table_memory_;
  PeerTable table_;
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
  const cuda::InboxPlan plan(ranks, tokens, width, hidden);
  TERNION_ASSIGN_OR_RETURN(cuda::PeerMemory memory,
                           cuda::PeerMemory::Create(rank, ranks, static_cast<size_t>(plan.Words()), gather));
  return std::make_unique<cuda::CudaPeerExchange>(*cuda, std::move(memory), tokens, plan);
}

}  // namespace ternion
