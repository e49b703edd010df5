// Several micro-batches in flight, or a plan ahead of its tokens: every stream is that of its request alone on one rank, whatever else comes and goes.
#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/local_cluster.h"

namespace ternion {
namespace {

constexpr int64_t kBlocks = 64;
constexpr int kRequests = 28;

std::unique_ptr<WeightSource> TinyModel() {
  auto source = OpenSynthetic(std::string(TERNION_SOURCE_DIR) + "/tests/data/tiny-a4.8.json");
  EXPECT_TRUE(source.ok()) << source.status();
  return *std::move(source);
}

struct Case {
  int tp;
  int pp;
  int micro_batches;
  bool ahead = false;
};

LocalCluster::Options Grid(const Case& grid) {
  const auto [tp, pp, micro_batches, ahead] = grid;
  LocalCluster::Options options;
  options.tp = tp;
  options.pp = pp;
  options.micro_batches = micro_batches;
  options.plans_ahead = ahead;
  options.max_sequences = 12;
  options.eos = false;
  options.engine.max_model_len = 256;
  options.engine.max_batch_tokens = 40;
  options.engine.kv_blocks = kBlocks;
  return options;
}

// `hash`: of all; whole logits leave no plan ahead.
std::vector<GenerateRequest> Requests(int64_t vocab, bool hash) {
  std::vector<GenerateRequest> requests;
  for (int i = 0; i < kRequests; ++i) {
    GenerateRequest request;
    const int length = i % 7 == 3 ? 90 + i : 1 + 5 * (i % 5);
    for (int t = 0; t < length; ++t)
      request.prompt.push_back(static_cast<int32_t>((11 * t + 97 * i) % vocab));
    request.max_tokens = 2 + i % 9;
    request.hash_logits = hash || i % 5 == 2;
    if (i % 2 == 1) request.sampling = {0.8f, 40, 0.9f, static_cast<uint64_t>(i)};
    requests.push_back(request);
  }
  return requests;
}

// What one request was told, by the engine's thread.
struct Stream {
  std::vector<int32_t> tokens;
  std::vector<uint64_t> hashes;
  std::optional<FinishReason> finish;
  int ends = 0;

  void Take(const TokenEvent& event) {
    EXPECT_TRUE(event.status.ok()) << event.status;
    EXPECT_EQ(ends, 0) << "an event after the last";
    ends += event.finish.has_value() ? 1 : 0;
    finish = event.finish;
    if (event.token < 0) return;
    tokens.push_back(event.token);
    hashes.push_back(event.logits_hash);
  }
};

std::vector<Stream> RunAlone(WeightSource& source, bool hash) {
  std::vector<Stream> streams;
  for (const GenerateRequest& request : Requests(source.config().shape.vocab, hash)) {
    LocalCluster cluster(source, Grid({1, 1, 1}));
    Stream stream;
    EXPECT_TRUE(cluster.coordinator().Submit(request, [&](const TokenEvent& e) { stream.Take(e); }).ok());
    cluster.coordinator().Drain();
    EXPECT_TRUE(cluster.coordinator().Run().ok());
    streams.push_back(stream);
  }
  return streams;
}

class MicroBatchesTest : public testing::TestWithParam<Case> {};

// Requests come from a thread of their own at random moments. Every fourth one is cancelled: by its own sink after a
// token, or from outside.
TEST_P(MicroBatchesTest, EveryStreamIsThatOfItsRequestAlone) {
  const auto source = TinyModel();
  const bool ahead = GetParam().ahead;
  const std::vector<Stream> alone = RunAlone(*source, !ahead);
  for (uint32_t seed = 0; seed < 3; ++seed) {
    LocalCluster cluster(*source, Grid(GetParam()));
    Coordinator& coordinator = cluster.coordinator();
    std::vector<Stream> streams(kRequests);
    std::thread client([&] {
      std::mt19937 random(seed);
      const std::vector<GenerateRequest> requests = Requests(source->config().shape.vocab, !ahead);
      for (int i = 0; i < kRequests; ++i) {
        const auto id = std::make_shared<std::atomic<uint64_t>>(0);
        const bool cancels_itself = i % 8 == 0;
        const auto submitted =
            coordinator.Submit(requests[i], [&, i, id, cancels_itself](const TokenEvent& e) {
              streams[i].Take(e);
              if (cancels_itself && !e.finish.has_value() && *id > 0) coordinator.Cancel(*id);
            });
        ASSERT_TRUE(submitted.ok()) << submitted.status();
        *id = *submitted;
        if (random() % 3 == 0) std::this_thread::sleep_for(std::chrono::microseconds(random() % 3000));
        if (i % 8 == 4) coordinator.Cancel(*submitted);
      }
      coordinator.Drain();
    });
    EXPECT_TRUE(coordinator.Run().ok());
    client.join();
    for (int i = 0; i < kRequests; ++i) {
      const Stream& got = streams[i];
      EXPECT_EQ(got.ends, 1) << "request " << i;
      Stream want = alone[i];
      if (i % 4 == 0) {  // it may have been cancelled, and then told a part
        ASSERT_LE(got.tokens.size(), want.tokens.size());
        want.tokens.resize(got.tokens.size());
        want.hashes.resize(got.hashes.size());
      } else {
        EXPECT_EQ(got.finish, want.finish) << "request " << i;
      }
      EXPECT_EQ(got.tokens, want.tokens) << "request " << i;
      EXPECT_EQ(got.hashes, want.hashes) << "request " << i;
    }
    EXPECT_EQ(coordinator.free_blocks(), kBlocks);
    EXPECT_EQ(coordinator.active_requests(), 0);
    EXPECT_EQ(cluster.most_in_flight(), ahead ? 2 : GetParam().micro_batches);
  }
}

INSTANTIATE_TEST_SUITE_P(Grids, MicroBatchesTest,
                         testing::Values(Case{1, 2, 1}, Case{1, 2, 2}, Case{1, 2, 3}, Case{1, 4, 4},
                                         Case{2, 2, 2}, Case{1, 1, 1, true}),
                         [](const auto& test) {
                           return "tp" + std::to_string(test.param.tp) + "pp" +
                                  std::to_string(test.param.pp) + "of" +
                                  std::to_string(test.param.micro_batches) +
                                  (test.param.ahead ? "ahead" : "");
                         });

}  // namespace
}  // namespace ternion
