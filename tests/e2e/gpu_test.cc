// The whole program on GPUs: the same tokens on one and two of them, the quality that docs/numerics.md states, and
// what a long run and a lost rank leave behind. Skipped where there are too few GPUs.
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_join.h"
#include "kernels/device_memory_query.h"
#include "tests/support/demo_server.h"
#include "tests/support/program.h"

#define SKIP_WITHOUT_GPUS(count)                                                                   \
  if (const int there = CudaDeviceCount(); there < (count)) {                                      \
    GTEST_SKIP() << "needs " << (count) << (count == 1 ? " GPU" : " GPUs") << ", found " << there; \
  }

namespace ternion {
namespace {

constexpr const char* kDevice = "--device=cuda";

std::string LogitsHash(int tp, int pp, std::vector<std::string> arguments) {
  arguments.push_back(kDevice);
  return RunForJson(tp, pp, arguments).value("logits_hash", "none");
}

// 300 ids: more than one 256-position chunk of attention, with a ragged end for every piece length below.
std::vector<std::string> LongPrompt() {
  std::vector<int> ids;
  for (int i = 0; i < 300; ++i) ids.push_back((i * i * 31 + i * 7) % 4000);
  return {"generate", DemoModel(), "--ids=" + absl::StrJoin(ids, ","), "--max-tokens=8", "--ignore-eos"};
}

std::vector<std::string> InPieces(int tokens) {
  std::vector<std::string> arguments = LongPrompt();
  arguments.push_back("--max-batch-tokens=" + std::to_string(tokens));
  return arguments;
}

TEST(GpuTest, PromptMayBeFedInPieces) {
  SKIP_WITHOUT_GPUS(1);
  const std::string whole = LogitsHash(1, 1, LongPrompt());
  for (int tokens : {1, 3, 7, 16, 64, 130}) EXPECT_EQ(LogitsHash(1, 1, InPieces(tokens)), whole) << tokens;
}

TEST(GpuTest, TwoGiveTheBitsOfOne) {
  SKIP_WITHOUT_GPUS(2);
  const std::string one = LogitsHash(1, 1, LongPrompt());
  for (const auto& [tp, pp] : {std::pair(2, 1), std::pair(1, 2)}) {
    EXPECT_EQ(LogitsHash(tp, pp, LongPrompt()), one) << "tp " << tp << ", pp " << pp;
    EXPECT_EQ(LogitsHash(tp, pp, InPieces(7)), one) << "tp " << tp << ", pp " << pp << ", in pieces";
  }
}

struct QualityRow {
  const char* name;
  const char* model;
  const char* golden_folder;
  int tp;
  int pp;
  const char* option;
  double perplexity;
};

class GpuQualityTest : public testing::TestWithParam<QualityRow> {};

// All 64 windows; 0.3 %.
TEST_P(GpuQualityTest, IsAsDocumented) {
  const QualityRow& row = GetParam();
  SKIP_WITHOUT_GPUS(row.tp * row.pp);
  const std::string golden = std::string("tests/data/") + row.golden_folder + "/golden.safetensors";
  const nlohmann::json run =
      RunForJson(row.tp, row.pp,
                 {"perplexity", SourcePath(row.model),
                  "--tokens=" + SourcePath(golden) + ":perplexity.windows", kDevice, row.option});
  EXPECT_EQ(run.value("tokens", 0), 64 * 1024);
  EXPECT_NEAR(run.value("perplexity", 0.0) / row.perplexity, 1, 0.003);
}

constexpr const char* kDemo = "configs/demo";
INSTANTIATE_TEST_SUITE_P(
    Wires, GpuQualityTest,
    testing::Values(QualityRow{"Exact", kDemo, "demo-a4.8", 1, 1, "--wire=exact", 6.370},
                    QualityRow{"B158", "tests/data/demo-b1.58", "demo-b1.58", 1, 1, "--wire=exact", 6.284},
                    QualityRow{"ReduceExact", kDemo, "demo-a4.8", 2, 1, "--wire=exact", 6.370},
                    QualityRow{"ReduceInt8", kDemo, "demo-a4.8", 2, 1, "--wire=int8", 6.372},
                    QualityRow{"ReduceInt4", kDemo, "demo-a4.8", 2, 1, "--wire=int4", 6.410},
                    QualityRow{"KvInt8", kDemo, "demo-a4.8", 1, 1, "--kv-cache=int8", 6.375},
                    QualityRow{"KvInt4", kDemo, "demo-a4.8", 1, 1, "--kv-cache=int4", 6.471},
                    QualityRow{"PipelineExact", kDemo, "demo-a4.8", 1, 2, "--pipeline-wire=exact", 6.370},
                    QualityRow{"PipelineInt8", kDemo, "demo-a4.8", 1, 2, "--pipeline-wire=int8", 6.376}),
    [](const auto& test) { return test.param.name; });

// tests/e2e/perplexity_test.cc has the CPU's.
TEST(GpuTest, Int2HasTorchsPerplexity) {
  for (const int tp : {1, 2}) {
    SKIP_WITHOUT_GPUS(tp);
    const nlohmann::json run = RunForJson(
        tp, 1,
        {"perplexity", SourcePath("tests/data/trained-int2"),
         "--tokens=" + SourcePath("tests/data/trained-int2/windows.safetensors:windows"), kDevice});
    EXPECT_NEAR(run.value("perplexity", 0.0) / 8.0464, 1, 0.003) << "tp " << tp;
  }
}

std::vector<StreamResult> AllAtOnce(uint16_t port, const std::vector<nlohmann::json>& requests) {
  std::vector<StreamResult> results(requests.size());
  std::vector<std::thread> clients;
  for (size_t i = 0; i < requests.size(); ++i) {
    clients.emplace_back([&, i] { results[i] = Stream(port, requests[i]); });
  }
  for (std::thread& client : clients) client.join();
  return results;
}

int64_t ResidentBytes(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/statm");
  int64_t size = 0, resident = 0;
  file >> size >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

int64_t FreeBytes(int device) {
  const auto memory = QueryCudaMemory(device);
  return memory.ok() ? memory->free_bytes : -1;
}

// Now and then a step has a shape that none before had, and is recorded. At most 96 steps are kept, of the demo half a MiB
// each; what grows beyond is a leak.
TEST(GpuServerTest, ThousandsOfMixedStepsGrowNothing) {
  SKIP_WITHOUT_GPUS(2);
  DemoServer server(2, 1, {kDevice});
  const std::vector<nlohmann::json> requests = EightRequests();
  const std::vector<StreamResult> first = AllAtOnce(server.port(), requests);
  const auto run_steps = [&](int count) {
    for (int steps = 0; steps < count;) {
      const std::vector<StreamResult> results = AllAtOnce(server.port(), requests);
      int longest = 0;
      for (size_t i = 0; i < requests.size(); ++i) {
        EXPECT_EQ(results[i], first[i]) << requests[i];
        longest = std::max(longest, results[i].completion_tokens);
      }
      ASSERT_GT(longest, 0);
      steps += longest;
    }
  };
  ASSERT_NO_FATAL_FAILURE(run_steps(6000));
  const int64_t device_before[] = {FreeBytes(0), FreeBytes(1)};
  const int64_t host_before[] = {ResidentBytes(server.Rank(0)), ResidentBytes(server.Rank(1))};

  ASSERT_NO_FATAL_FAILURE(run_steps(6000));
  constexpr int64_t kMiB = 1 << 20;
  for (int rank = 0; rank < 2; ++rank) {
    EXPECT_LE(device_before[rank] - FreeBytes(rank), 96 * kMiB) << "GPU " << rank;
    EXPECT_LE(ResidentBytes(server.Rank(rank)) - host_before[rank], 64 * kMiB) << "rank " << rank;
  }
}

// The GPUs are free afterwards: another run on both works.
TEST(GpuServerTest, LostRankEndsAllWithin15Seconds) {
  SKIP_WITHOUT_GPUS(2);
  DemoServer server(2, 1, {kDevice});
  HttpClient client(server.port());
  ASSERT_TRUE(BeginStream(client, CompletionRequest("The", 1500)));
  ASSERT_TRUE(client.ReadEvent().has_value());
  const auto start = std::chrono::steady_clock::now();
  ASSERT_EQ(kill(server.Rank(1), SIGKILL), 0);
  EXPECT_NE(server.process().Wait(std::chrono::seconds(15)).value_or(0), 0) << server.process().Err();
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(15));
  EXPECT_EQ(server.process().Members(), std::vector<pid_t>());
  EXPECT_EQ(LogitsHash(2, 1, InPieces(64)), LogitsHash(1, 1, InPieces(64)));
}

TEST(GpuServerTest, EightAtOnceGetWhatEachGetsAlone) {
  SKIP_WITHOUT_GPUS(1);
  DemoServer server(1, 1, {kDevice});
  const std::vector<nlohmann::json> requests = EightRequests();
  std::vector<StreamResult> alone;
  for (const nlohmann::json& request : requests) {
    alone.push_back(Stream(server.port(), request));
    ASSERT_TRUE(alone.back().done) << request;
  }
  const std::vector<StreamResult> together = AllAtOnce(server.port(), requests);
  for (size_t i = 0; i < requests.size(); ++i) EXPECT_EQ(together[i], alone[i]) << requests[i];
}

// A rank for which no GPU is left says so before it loads anything.
TEST(GpuTest, MoreRanksThanGpusIsOneClearError) {
  SKIP_WITHOUT_GPUS(1);
  const int ranks = CudaDeviceCount() == 1 ? 2 : 4;
  if (CudaDeviceCount() >= ranks) GTEST_SKIP() << "needs fewer than " << ranks << " GPUs";
  const ProgramResult result =
      RunProgram(ranks, {"generate", DemoModel(), "--prompt=a", kDevice, "--tp=" + std::to_string(ranks)});
  EXPECT_NE(result.exit_status, 0);
  EXPECT_NE(result.err.find("CUDA device"), std::string::npos) << result.err;
}

}  // namespace
}  // namespace ternion
