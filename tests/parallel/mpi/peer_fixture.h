#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <cstring>
#include <memory>
#include <random>
#include <string_view>
#include <thread>
#include <vector>

#include "kernels/device_memory_query.h"
#include "kernels/peer_exchange.h"
#include "parallel/tensor_parallel.h"
#include "tests/parallel/mpi/session.h"
#include "tests/support/backends.h"

namespace ternion {

// CUDA devices that write to each other's memory; ranks share one where there are fewer, which takes longer.
class PeerTest : public testing::Test {
 protected:
  static constexpr int64_t kFewTokens = 16;
  static constexpr int64_t kMostTokens = 2000;
  static constexpr int64_t kWidth = 4096;
  static constexpr int64_t kHidden = 8192;

  void SetUp() override {
    const MpiSession& session = TestSession();
    if (session.size() == 1 || session.size() > kMostPeers) GTEST_SKIP() << "needs two ranks, or a few";
    if (CudaDeviceCount() == 0) GTEST_SKIP() << "needs a CUDA device";
    auto backend = MakeCudaBackend(session.local_rank() % CudaDeviceCount());
    ASSERT_TRUE(backend.ok()) << backend.status();
    backend_ = *std::move(backend);
    auto group = session.Split(0, session.rank());
    ASSERT_TRUE(group.ok()) << group.status();
    group_ = *std::move(group);
    auto ranks = TensorParallel::Create(backend_.get(), group_.get(), &bytes_, kMostTokens, kHidden);
    ASSERT_TRUE(ranks.ok()) << ranks.status();
    ranks_ = *std::move(ranks);
    auto peers = MakeCudaPeerExchange(*backend_, rank(), size(), kFewTokens, kWidth, kHidden,
                                      [&](std::string_view mine) { return session.AllGatherStrings(mine); });
    if (!peers.ok()) GTEST_SKIP() << peers.status();
    peers_ = peers->get();
    ranks_->UsePeers(*std::move(peers));
  }

  void TearDown() override {
    if (backend_ != nullptr) backend_->Synchronize();
    TestSession().AllGatherStrings("");  // nobody's memory goes while another writes to it
  }

  int rank() const { return TestSession().rank(); }
  int size() const { return TestSession().size(); }
  Backend& backend() { return *backend_; }

  // Ranks do not keep step.
  void Wander() {
    std::this_thread::sleep_for(std::chrono::microseconds(random_() % 300));
    if (random_() % 4 == 0) backend_->Synchronize();
  }

  // Floats are the same bits, or none is a number.
  template <typename T>
  static int64_t Different(const std::vector<T>& got, const std::vector<T>& want) {
    if (got.size() != want.size()) return -1;
    int64_t count = 0;
    for (size_t i = 0; i < got.size(); ++i) {
      const bool no_numbers = got[i] != got[i] && want[i] != want[i];
      count += !no_numbers && std::memcmp(&got[i], &want[i], sizeof(T)) != 0;
    }
    return count;
  }

  template <typename T>
  static std::vector<T> RowsOf(const std::vector<T>& x, const Range& rows, int64_t cols) {
    return {x.begin() + rows.begin * cols, x.begin() + rows.end * cols};
  }

  WireBytes bytes_;
  std::unique_ptr<Communicator> group_;
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<TensorParallel> ranks_;
  PeerExchange* peers_ = nullptr;
  std::minstd_rand random_{static_cast<uint32_t>(TestSession().rank()) + 1};
};

}  // namespace ternion
