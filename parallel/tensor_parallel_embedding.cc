// Embedding rows from the ranks that hold them. Every rank knows all ids, hence which rows every other rank
// needs and in which order they come: only bfloat16 rows travel, in token order for each pair of ranks.
#include <numeric>

#include "kernels/check.h"
#include "kernels/status.h"
#include "parallel/byte_views.h"
#include "parallel/counted_exchange.h"
#include "parallel/tensor_parallel.h"

namespace ternion {
namespace {

constexpr int64_t kVocabUnit = 256;  // ids; the vocabulary is split in whole units (parallel/sharding.h)

class IdOwners {
 public:
  IdOwners(int64_t vocab, int ranks) {
    for (int r = 0; r < ranks; ++r) ranges_.push_back(SplitEvenly(vocab, kVocabUnit, ranks, r));
  }
  const Range& range(int rank) const { return ranges_[rank]; }
  absl::Span<const Range> ranges() const { return ranges_; }
  int OwnerOf(int64_t id) const {
    for (size_t r = 0; r < ranges_.size(); ++r) {
      if (ranges_[r].begin <= id && id < ranges_[r].end) return static_cast<int>(r);
    }
    CHECK(false, "a token id lies in the vocabulary");
  }

 private:
  std::vector<Range> ranges_;  // [rank]
};

// Which rows a rank sends, and what it does with those that arrive.
struct RowExchange {
  std::vector<int32_t> picked;      // rows of this rank's table, by receiver, then by token
  std::vector<size_t> send_counts;  // [receiver], bytes; one for all receivers when one-shot
  std::vector<size_t> recv_counts;  // [rank], bytes
  std::vector<int32_t> order;       // [owned]: where a token's row lies among those that arrived

  int64_t sent_rows() const { return static_cast<int64_t>(picked.size()); }
};

// Adds the rows of `part` that the tokens `span` ask for, in token order.
void PlanSend(absl::Span<const int32_t> ids, Range span, Range part, int64_t row_bytes, RowExchange& plan) {
  const size_t before = plan.picked.size();
  for (int64_t t = span.begin; t < span.end; ++t) {
    if (part.begin <= ids[t] && ids[t] < part.end)
      plan.picked.push_back(static_cast<int32_t>(ids[t] - part.begin));
  }
  plan.send_counts.push_back((plan.picked.size() - before) * row_bytes);
}

// Rows arrive by owner, then by token.
void PlanReceive(absl::Span<const int32_t> ids, Range span, const IdOwners& owners, int ranks,
                 int64_t row_bytes, RowExchange& plan) {
  std::vector<int32_t> rows(ranks, 0);
  for (int64_t t = span.begin; t < span.end; ++t) {
    plan.order.push_back(owners.OwnerOf(ids[t]));
    ++rows[plan.order.back()];
  }
  std::vector<int32_t> next(ranks, 0);  // where each owner's next row lies
  std::exclusive_scan(rows.begin(), rows.end(), next.begin(), 0);
  for (int32_t& index : plan.order) index = next[index]++;
  for (const int32_t count : rows) plan.recv_counts.push_back(count * row_bytes);
}

}  // namespace

absl::Status TensorParallel::EmbedRows(TensorView<const BFloat16> table, int64_t vocab,
                                       absl::Span<const int32_t> ids_host, TensorView<const int32_t> drawn,
                                       TensorView<float> out) {
  const int64_t tokens = static_cast<int64_t>(ids_host.size());
  const Range owned = OwnedRows(tokens);
  const IdOwners owners(vocab, size());
  CHECK(table.rows() == owners.range(rank()).size(), "the table is this rank's part of the vocabulary");
  CHECK(out.rows() == owned.size() && out.cols() == table.cols(), "the owned rows are embedded");
  if (size() == 1) {
    backend_->GatherRows(table, ids_host, drawn, out);
    return absl::OkStatus();
  }
  if (TakesDrawn()) {
    peers_->EmbedRows(ids_host.subspan(owned.begin, owned.size()), drawn, out);
    return absl::OkStatus();
  }
  const int64_t row_bytes = table.cols() * static_cast<int64_t>(sizeof(BFloat16));
  RowExchange plan;
  const int receivers = sequence_parallel(tokens) ? size() : 1;
  for (int r = 0; r < receivers; ++r) {
    PlanSend(ids_host, OwnedRows(tokens, r), owners.range(rank()), row_bytes, plan);
  }
  PlanReceive(ids_host, owned, owners, size(), row_bytes, plan);

  TERNION_RETURN_IF_ERROR(Reserve(send_, plan.sent_rows() * row_bytes));
  TERNION_RETURN_IF_ERROR(Reserve(recv_, owned.size() * row_bytes));
  const absl::Span<const std::byte> send = FrontOf(send_, plan.sent_rows() * row_bytes);
  const absl::Span<std::byte> recv = FrontOf(recv_, owned.size() * row_bytes);
  backend_->PickRows(table, plan.picked, send_.As<BFloat16>(plan.sent_rows(), table.cols()));
  TERNION_RETURN_IF_ERROR(
      sequence_parallel(tokens)
          ? CountedAllToAll(*group_, send, plan.send_counts, plan.recv_counts, recv, counters_->gather)
          : CountedAllGather(*group_, send, plan.recv_counts, recv, counters_->gather));
  backend_->GatherRows(recv_.As<BFloat16>(owned.size(), table.cols()), plan.order, {}, out);
  return absl::OkStatus();
}

absl::Status TensorParallel::OpenTable(TensorView<const BFloat16> table, int64_t vocab,
                                       GatherStrings gather) {
  CHECK(peers_ != nullptr, "peers open a table");
  return peers_->OpenTable(table, IdOwners(vocab, size()).ranges(), gather);
}

}  // namespace ternion
