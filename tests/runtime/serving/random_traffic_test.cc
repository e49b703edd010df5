// The scheduler's promise: whatever comes and goes, every stream is that of its request alone. Random traffic goes through
// the scheduler, coordinator and engine on random grids, with so few KV blocks that sequences give them back and come
// again, and with prompts that share their beginnings; every stream is compared with its solo run token by token.
//
// TERNION_TEST_SEED sets the seed, which is printed.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/local_cluster.h"
#include "tests/support/random_traffic.h"

namespace ternion {
namespace {

constexpr int64_t kLongestPrompt = 110;
constexpr int64_t kMostGenerated = 140;
constexpr int64_t kMaxModelLen = 256;
constexpr int64_t kRequestsPerRound = 125;
constexpr KvFormat kFormats[] = {KvFormat::kF32,  KvFormat::kF16,     KvFormat::kInt8,   KvFormat::kInt4,
                                 KvFormat::kInt3, KvFormat::kInt4G32, KvFormat::kInt3G32};

// What one request was told, by the engine's thread.
struct Stream {
  std::vector<int32_t> tokens;
  std::vector<uint64_t> hashes;
  std::vector<std::optional<TokenLogprobs>> logprobs;
  std::vector<TokenLogprobs> prompt_logprobs;
  double negative_log_likelihood = 0;
  int64_t cached_tokens = 0;
  std::optional<FinishReason> finish;
  absl::Status status;
  int ends = 0;

  void Take(const TokenEvent& event) {
    EXPECT_EQ(ends, 0) << "an event after the last";
    if (event.finish.has_value() || !event.status.ok()) ++ends;
    status = event.status;
    finish = event.finish;
    negative_log_likelihood = event.negative_log_likelihood;
    if (event.token < 0) return;
    if (tokens.empty()) cached_tokens = event.cached_tokens;
    tokens.push_back(event.token);
    hashes.push_back(event.logits_hash);
    logprobs.push_back(event.logprobs);
    prompt_logprobs.insert(prompt_logprobs.end(), event.prompt_logprobs.begin(), event.prompt_logprobs.end());
  }
  bool cut_short() const { return !status.ok() || finish == FinishReason::kCancelled; }
};

LocalCluster::Options AnyGrid(std::mt19937& random) {
  const auto pick = [&](std::initializer_list<int64_t> values) {
    return *(values.begin() + random() % values.size());
  };
  LocalCluster::Options options;
  options.tp = static_cast<int>(pick({1, 1, 2}));
  options.pp = static_cast<int>(pick({1, 1, 2, 4}));
  options.plans_ahead = options.tp * options.pp == 1 && pick({0, 1}) == 1;
  options.micro_batches = options.plans_ahead ? 1 : static_cast<int>(options.pp + pick({0, 0, 1}));
  options.max_sequences = pick({8, 16});
  options.engine.kv_format = kFormats[random() % std::size(kFormats)];
  options.engine.max_model_len = kMaxModelLen;
  options.engine.max_batch_tokens = pick({9, 32, 65, 128, 300});
  options.engine.kv_blocks = pick({4, 6, 9, 13});
  return options;
}

std::string Describe(const LocalCluster::Options& options) {
  return "tp " + std::to_string(options.tp) + ", pp " + std::to_string(options.pp) + ", micro-batches " +
         std::to_string(options.micro_batches) + (options.plans_ahead ? ", plans ahead" : "") + ", " +
         std::to_string(options.max_sequences) + " sequences, " +
         std::to_string(options.engine.max_batch_tokens) + " tokens a step, " +
         std::to_string(options.engine.kv_blocks) + " blocks of " +
         std::string(KvFormatName(options.engine.kv_format));
}

// Every request alone, one after the other, on one rank, its whole prompt in one step, nothing kept from the one before.
std::vector<Stream> RunAlone(WeightSource& source, KvFormat format,
                             const std::vector<TrafficRequest>& traffic) {
  LocalCluster::Options options;
  options.max_sequences = 1;
  options.prefix_caching = false;
  options.engine.kv_format = format;
  options.engine.max_model_len = kMaxModelLen;
  options.engine.max_batch_tokens = kMaxModelLen;
  options.engine.kv_blocks = BlocksFor(kMaxModelLen);
  LocalCluster cluster(source, options);
  std::vector<Stream> streams(traffic.size());
  for (size_t i = 0; i < traffic.size(); ++i) {
    GenerateRequest request = traffic[i].request;
    request.hash_logits = request.score_targets.empty();
    EXPECT_TRUE(cluster.coordinator().Submit(request, [&, i](const auto& e) { streams[i].Take(e); }).ok());
  }
  cluster.coordinator().Drain();
  EXPECT_TRUE(cluster.coordinator().Run().ok());
  return streams;
}

// Sends the requests in their time, on a thread of its own, and cancels what is to be cancelled from outside.
class Clients {
 public:
  Clients(Coordinator& coordinator, const std::vector<TrafficRequest>& traffic)
      : coordinator_(coordinator), traffic_(traffic), streams_(traffic.size()), ids_(traffic.size()) {}

  void Run() {
    const auto pause = [](int64_t us) { std::this_thread::sleep_for(std::chrono::microseconds(us)); };
    for (size_t i = 0; i < traffic_.size(); ++i) {
      if (traffic_[i].pause_us > 0) pause(traffic_[i].pause_us);
      Submit(i);
      CancelDue();
    }
    while (!to_cancel_.empty()) {
      pause(200);
      CancelDue();
    }
    coordinator_.Drain();
  }
  const std::vector<Stream>& streams() const { return streams_; }

 private:
  using Clock = std::chrono::steady_clock;
  struct Cancellation {
    Clock::time_point when;
    uint64_t id;
  };

  void Submit(size_t i) {
    const TrafficRequest& traffic = traffic_[i];
    GenerateRequest request = traffic.request;
    const auto after = [now = Clock::now()](int64_t us) { return now + std::chrono::microseconds(us); };
    if (traffic.deadline_us >= 0) request.deadline = after(traffic.deadline_us);
    const auto id = coordinator_.Submit(std::move(request), [this, i](const TokenEvent& e) { Take(i, e); });
    ASSERT_TRUE(id.ok()) << id.status();
    ids_[i] = *id;
    if (traffic.cancel_us >= 0) to_cancel_.push_back({after(traffic.cancel_us), *id});
  }
  // On the engine's thread. A token may come before its request's id is known; the next one cancels then.
  void Take(size_t i, const TokenEvent& event) {
    streams_[i].Take(event);
    const int64_t after = traffic_[i].cancel_after;
    const auto tokens = static_cast<int64_t>(streams_[i].tokens.size());
    if (after >= 0 && tokens > after && streams_[i].ends == 0 && ids_[i] > 0) coordinator_.Cancel(ids_[i]);
  }
  void CancelDue() {
    std::erase_if(to_cancel_, [&](const Cancellation& cancellation) {
      const bool due = cancellation.when <= Clock::now();
      if (due) coordinator_.Cancel(cancellation.id);
      return due;
    });
  }

  Coordinator& coordinator_;
  const std::vector<TrafficRequest>& traffic_;
  std::vector<Stream> streams_;
  std::vector<std::atomic<uint64_t>> ids_;
  std::vector<Cancellation> to_cancel_;
};

// What happened in all rounds; a run without some of it shows nothing.
struct Totals {
  int64_t preemptions = 0;
  int64_t hit_tokens = 0;
  int64_t copies = 0;
  int64_t cut_short = 0;
  int64_t tokens = 0;
  int64_t cached_tokens = 0;

  void Add(const SchedulerStats& stats) {
    preemptions += stats.preemptions;
    hit_tokens += stats.prefix_hit_tokens;
    copies += stats.block_copies;
  }
};

void Compare(const TrafficRequest& traffic, Stream want, const Stream& got) {
  EXPECT_EQ(got.ends, 1);
  if (got.cut_short()) {
    EXPECT_TRUE(traffic.may_end_early()) << got.status;
    EXPECT_TRUE(got.status.ok() || absl::IsDeadlineExceeded(got.status)) << got.status;
    ASSERT_LE(got.tokens.size(), want.tokens.size());
    want.tokens.resize(got.tokens.size());
    want.hashes.resize(got.tokens.size());
    want.logprobs.resize(got.tokens.size());
    if (got.tokens.empty()) want.prompt_logprobs.clear();
  } else {
    EXPECT_EQ(got.finish, want.finish);
    EXPECT_NEAR(got.negative_log_likelihood, want.negative_log_likelihood, 1e-9);
  }
  EXPECT_EQ(got.tokens, want.tokens);
  EXPECT_TRUE(got.logprobs == want.logprobs);
  EXPECT_TRUE(got.prompt_logprobs == want.prompt_logprobs);
  if (traffic.request.hash_logits) {
    EXPECT_EQ(got.hashes, want.hashes);
  }
  EXPECT_LT(got.cached_tokens, static_cast<int64_t>(traffic.request.prompt.size()));
}

void RunRound(WeightSource& source, uint32_t seed, int64_t count, Totals& totals) {
  std::mt19937 random(seed);
  const LocalCluster::Options options = AnyGrid(random);
  SCOPED_TRACE("round with seed " + std::to_string(seed) + ": " + Describe(options));
  const int64_t vocab = source.config().shape.vocab;
  const auto traffic = RandomTraffic(random(), vocab, kLongestPrompt, kMostGenerated).Make(count);
  const std::vector<Stream> alone = RunAlone(source, options.engine.kv_format, traffic);
  LocalCluster cluster(source, options);
  Clients clients(cluster.coordinator(), traffic);
  std::thread thread([&] { clients.Run(); });
  EXPECT_TRUE(cluster.coordinator().Run().ok());
  thread.join();
  for (size_t i = 0; i < traffic.size(); ++i) {
    SCOPED_TRACE("request " + std::to_string(i));
    const Stream& got = clients.streams()[i];
    Compare(traffic[i], alone[i], got);
    totals.tokens += static_cast<int64_t>(got.tokens.size());
    totals.cached_tokens += got.cached_tokens;
    totals.cut_short += got.cut_short() ? 1 : 0;
  }
  EXPECT_EQ(cluster.coordinator().free_blocks(), options.engine.kv_blocks);
  EXPECT_EQ(cluster.coordinator().active_requests(), 0);
  totals.Add(cluster.coordinator().stats());
}

void RunRequests(int64_t requests) {
  const char* given = std::getenv("TERNION_TEST_SEED");
  const uint32_t seed = given != nullptr ? std::atoi(given) : std::random_device()();
  std::printf("TERNION_TEST_SEED=%u\n", seed);
  const auto source = OpenSynthetic(std::string(TERNION_SOURCE_DIR) + "/tests/data/micro-a4.8.json");
  ASSERT_TRUE(source.ok()) << source.status();
  Totals totals;
  for (int64_t done = 0; done < requests && !testing::Test::HasFailure(); done += kRequestsPerRound) {
    RunRound(**source, seed + static_cast<uint32_t>(done / kRequestsPerRound), kRequestsPerRound, totals);
  }
  std::printf(
      "%ld requests, %ld tokens: %ld cut short, %ld preemptions, %ld tokens found, %ld parts copied\n",
      requests, totals.tokens, totals.cut_short, totals.preemptions, totals.hit_tokens, totals.copies);
  EXPECT_GT(totals.cut_short, requests / 50);
  EXPECT_GT(totals.preemptions, requests / 100);
  EXPECT_GT(totals.hit_tokens, requests * 10);
  EXPECT_GT(totals.copies, requests / 20);
  EXPECT_GT(totals.cached_tokens, 0);
}

TEST(RandomTraffic, EveryStreamIsThatOfItsRequestAlone) { RunRequests(1000); }

TEST(LongRandomTraffic, EveryStreamIsThatOfItsRequestAlone) { RunRequests(20000); }

}  // namespace
}  // namespace ternion
