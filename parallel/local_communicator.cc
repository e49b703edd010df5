// Ranks as threads. A collective is two meetings around a copy: every rank posts where its send buffer lies,
// all meet, each copies its share out of the others' buffers, all meet again so that no buffer is reused too
// early. A rank whose communicator is destroyed has left: those that wait for it get kUnavailable and never
// hang.
#include <condition_variable>
#include <cstring>
#include <deque>
#include <mutex>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/check.h"
#include "kernels/status.h"
#include "parallel/communicator.h"
#include "parallel/exchange_sizes.h"

namespace ternion {
namespace {

struct Posted {
  absl::Span<const std::byte> send;
  std::vector<size_t> counts;  // bytes for each rank
};

class LocalGroup {
 public:
  explicit LocalGroup(int size) : size_(size), posted_(size), left_(size, false), mail_(size * size) {}

  int size() const { return size_; }
  const Posted& posted(int rank) const { return posted_[rank]; }

  absl::Status PostAndMeet(int rank, Posted posted) {
    posted_[rank] = std::move(posted);
    return Meet();
  }

  absl::Status Meet() {
    std::unique_lock<std::mutex> lock(mutex_);
    const uint64_t meeting = meeting_;
    if (++arrived_ == size_) {
      arrived_ = 0;
      ++meeting_;
      changed_.notify_all();
      return absl::OkStatus();
    }
    changed_.wait(lock, [&] { return meeting_ != meeting || FirstLeft() >= 0; });
    return meeting_ != meeting ? absl::OkStatus() : Gone(FirstLeft());
  }

  void Mail(int from, int to, absl::Span<const std::byte> data) {
    const std::lock_guard<std::mutex> lock(mutex_);
    mail_[from * size_ + to].emplace_back(data.begin(), data.end());
    changed_.notify_all();
  }

  absl::Status Collect(int from, int to, absl::Span<std::byte> data) {
    std::unique_lock<std::mutex> lock(mutex_);
    std::deque<std::vector<std::byte>>& box = mail_[from * size_ + to];
    changed_.wait(lock, [&] { return !box.empty() || left_[from]; });
    if (box.empty()) return Gone(from);
    CHECK(box.front().size() == data.size(), "a receiver expects as many bytes as were sent");
    if (!data.empty()) std::memcpy(data.data(), box.front().data(), data.size());
    box.pop_front();
    return absl::OkStatus();
  }

  void Leave(int rank) {
    const std::lock_guard<std::mutex> lock(mutex_);
    left_[rank] = true;
    changed_.notify_all();
  }

 private:
  int FirstLeft() const {
    for (int r = 0; r < size_; ++r) {
      if (left_[r]) return r;
    }
    return -1;
  }

  static absl::Status Gone(int rank) {
    return absl::UnavailableError(absl::StrCat("rank ", rank, " has left the group of threads"));
  }

  const int size_;
  std::mutex mutex_;
  std::condition_variable changed_;
  int arrived_ = 0;
  uint64_t meeting_ = 0;
  std::vector<Posted> posted_;  // [rank], each written by its rank before a meeting, read by others after it
  std::vector<bool> left_;      // [rank]
  std::vector<std::deque<std::vector<std::byte>>> mail_;  // [from, to]
};

class LocalCommunicator final : public Communicator {
 public:
  LocalCommunicator(std::shared_ptr<LocalGroup> group, int rank) : group_(std::move(group)), rank_(rank) {}
  ~LocalCommunicator() override { group_->Leave(rank_); }

  int rank() const override { return rank_; }
  int size() const override { return group_->size(); }

  absl::Status AllGather(absl::Span<const std::byte> send, absl::Span<const size_t> counts,
                         absl::Span<std::byte> recv) override {
    CheckAllGather(rank_, size(), send.size(), counts, recv.size());
    TERNION_RETURN_IF_ERROR(group_->PostAndMeet(rank_, {send, std::vector<size_t>(size(), send.size())}));
    for (int r = 0; r < size(); ++r) recv = Take(r, 0, counts[r], recv);
    return group_->Meet();
  }

  absl::Status AllToAll(absl::Span<const std::byte> send, absl::Span<const size_t> send_counts,
                        absl::Span<const size_t> recv_counts, absl::Span<std::byte> recv) override {
    CheckAllToAll(rank_, size(), send.size(), send_counts, recv_counts, recv.size());
    TERNION_RETURN_IF_ERROR(group_->PostAndMeet(rank_, {send, {send_counts.begin(), send_counts.end()}}));
    for (int r = 0; r < size(); ++r) {
      const size_t offset = TotalBytes(absl::MakeConstSpan(group_->posted(r).counts).subspan(0, rank_));
      recv = Take(r, offset, recv_counts[r], recv);
    }
    return group_->Meet();
  }

  absl::Status Send(absl::Span<const std::byte> data, int to) override {
    CheckPeer(rank_, size(), to);
    group_->Mail(rank_, to, data);
    return absl::OkStatus();
  }

  absl::Status Recv(absl::Span<std::byte> data, int from) override {
    CheckPeer(rank_, size(), from);
    return group_->Collect(from, rank_, data);
  }

 private:
  // Copies rank `from`'s bytes at `offset` to the front of `recv`; returns what is left of it.
  absl::Span<std::byte> Take(int from, size_t offset, size_t bytes, absl::Span<std::byte> recv) const {
    const Posted& posted = group_->posted(from);
    CHECK(posted.counts[rank_] == bytes, "the ranks disagree on the bytes of an exchange");
    if (bytes > 0) std::memcpy(recv.data(), posted.send.data() + offset, bytes);
    return recv.subspan(bytes);
  }

  const std::shared_ptr<LocalGroup> group_;
  const int rank_;
};

}  // namespace

std::vector<std::unique_ptr<Communicator>> MakeLocalCommunicators(int size) {
  const auto group = std::make_shared<LocalGroup>(size);
  std::vector<std::unique_ptr<Communicator>> ranks;
  ranks.reserve(size);
  for (int r = 0; r < size; ++r) ranks.push_back(std::make_unique<LocalCommunicator>(group, r));
  return ranks;
}

}  // namespace ternion
