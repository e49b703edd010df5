// A rank of a running server is killed or stopped: clients, /health and the exit status tell of it, and nothing stays behind.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/demo_server.h"
#include "tests/support/program.h"
#include "tests/support/prometheus_text.h"
#include "tests/support/temp_folder.h"

namespace ternion {
namespace {

using nlohmann::json;
using testing::HasSubstr;

// --rank-timeout is 10 s; a machine that builds at the same time gets more.
constexpr std::chrono::seconds kLimit{40};

// mpirun may end before the last of its ranks.
void ExpectNothingStaysBehind(const Process& process) {
  const auto deadline = std::chrono::steady_clock::now() + kLimit;
  while (!process.Members().empty() && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  EXPECT_EQ(process.Members(), std::vector<pid_t>());
}

// A server whose launcher lets the others live when one rank is lost, with a stream that is open.
class LossServer {
 public:
  explicit LossServer(const std::vector<std::string>& mpirun = {"--enable-recovery"})
      : server_(2, 2, {"--rank-timeout=10", "--lost-rank-linger=4"},
                {"TERNION_EXIT_STATUS_FILE=" + status_file().string()}, mpirun),
        client_(server_.port()) {
    EXPECT_TRUE(BeginStream(client_, CompletionRequest("The", 2000)));
    EXPECT_TRUE(client_.ReadEvent().has_value());
  }

  DemoServer& server() { return server_; }
  void Signal(int rank, int signal) { EXPECT_EQ(kill(server_.Rank(rank), signal), 0); }

  // The open stream's last events.
  void ExpectTypedError(const std::string& names) {
    json error;
    std::string last;
    for (auto event = client_.ReadEvent(); event; event = client_.ReadEvent()) {
      const json chunk = json::parse(*event, nullptr, /*allow_exceptions=*/false);
      if (chunk.is_object() && chunk.contains("error")) error = chunk["error"];
      last = *event;
    }
    EXPECT_EQ(last, "[DONE]");
    ASSERT_TRUE(error.is_object()) << "the stream ends with an error";
    EXPECT_THAT(error.value("message", ""), HasSubstr(names));
    EXPECT_EQ(error.value("type", ""), "service_unavailable_error");
    EXPECT_EQ(error.value("code", ""), "rank_lost");
  }

  // While rank 0 lingers.
  void ExpectRefusals(int lost) {
    const std::string names = "rank " + std::to_string(lost) + " on ";
    HttpClient client(server_.port());
    const HttpReply health = client.Get("/health");
    EXPECT_EQ(health.status, 503);
    EXPECT_THAT(health.body, HasSubstr(names));
    const HttpReply refused = Post(server_.port(), CompletionRequest("A", 1).dump());
    EXPECT_EQ(refused.status, 503);
    EXPECT_THAT(refused.body, HasSubstr(names));
    const auto metrics = ParsePrometheus(client.Get("/metrics").body);
    for (int rank = 0; rank < 4; ++rank) {
      const std::string label = "{rank=\"" + std::to_string(rank) + "\"}";
      EXPECT_EQ(ValueOf(metrics, "ternion:rank_up" + label), rank == lost ? 0 : 1) << rank;
    }
    const std::string lost_label = "{rank=\"" + std::to_string(lost) + "\"}";
    EXPECT_GT(ValueOf(metrics, "ternion:rank_last_heartbeat_seconds" + lost_label), 0);
  }

  void ExpectEnd() {
    EXPECT_TRUE(server_.process().Wait(kLimit).has_value()) << server_.process().Err();
    ExpectNothingStaysBehind(server_.process());
    std::string status;
    std::ifstream(status_file()) >> status;
    EXPECT_EQ(status, "4") << server_.process().Err();
  }

 private:
  std::filesystem::path status_file() const { return folder_.path() / "status"; }

  TempFolder folder_;
  DemoServer server_;
  HttpClient client_;
};

struct Loss {
  const char* name;
  int rank;
  int signal;
};

class RankLoss : public testing::TestWithParam<Loss> {};

TEST_P(RankLoss, IsToldAndEndsTheJob) {
  const Loss loss = GetParam();
  LossServer server;
  server.Signal(loss.rank, loss.signal);
  server.ExpectTypedError("rank " + std::to_string(loss.rank) + " on ");
  server.ExpectRefusals(loss.rank);
  server.ExpectEnd();
}

INSTANTIATE_TEST_SUITE_P(Peers, RankLoss,
                         testing::Values(Loss{"TensorPeerKilled", 1, SIGKILL},
                                         Loss{"TensorPeerStopped", 1, SIGSTOP},
                                         Loss{"NextStageKilled", 2, SIGKILL},
                                         Loss{"NextStageStopped", 3, SIGSTOP}),
                         [](const auto& loss) { return loss.param.name; });

TEST(RankZeroLoss, KilledItEndsTheJob) {
  LossServer server;
  server.Signal(0, SIGKILL);
  server.ExpectEnd();
}

TEST(RankZeroLoss, StoppedItEndsTheJob) {
  LossServer server;
  server.Signal(0, SIGSTOP);
  server.ExpectEnd();
}

TEST(RankLossBeforeServing, EndsTheJob) {
  const TempFolder folder;
  const std::filesystem::path status_file = folder.path() / "status";
  const auto process =
      StartProgram(2,
                   {"generate", "--synthetic=" + SourcePath("configs/models/bitnet-2b-4t.json"), "--ids=1,2",
                    "--tp=2", "--threads=1", "--max-model-len=64"},
                   {"TERNION_EXIT_STATUS_FILE=" + status_file.string()}, {"--enable-recovery"});
  ASSERT_TRUE(process->WaitForErr("loading ", kLimit)) << process->Err();
  const std::vector<pid_t> second = process->Members("OMPI_COMM_WORLD_RANK=1");
  ASSERT_EQ(second.size(), 1u);
  ASSERT_EQ(kill(second[0], SIGKILL), 0);
  EXPECT_TRUE(process->Wait(kLimit).has_value()) << process->Err();
  ExpectNothingStaysBehind(*process);
  std::string status;
  std::ifstream(status_file) >> status;
  EXPECT_EQ(status, "4") << process->Err();
  EXPECT_THAT(process->Err(), HasSubstr("rank 1 on "));
}

// Before the ranks are connected nothing but the time tells. `lost`: how the third rank of MPI's world starts.
void ExpectEndOfStart(const std::vector<std::string>& lost, const std::string& error) {
  const TempFolder folder;
  const std::filesystem::path status_file = folder.path() / "status";
  std::vector<std::string> arguments = {"generate", DemoModel(), "--ids=1,2", "--tp=3",
                                        ":",        "-np",       "1",         LOST_AFTER_START};
  arguments.insert(arguments.end(), lost.begin(), lost.end());
  const auto process =
      StartProgram(2, arguments, {"TERNION_EXIT_STATUS_FILE=" + status_file.string()}, {"--enable-recovery"});
  EXPECT_TRUE(process->Wait(std::chrono::seconds(90)).has_value()) << process->Err();
  ExpectNothingStaysBehind(*process);
  std::string status;
  std::ifstream(status_file) >> status;
  EXPECT_EQ(status, "4") << process->Err();
  EXPECT_THAT(process->Err(), HasSubstr(error));
}

TEST(RankLossWhileMpiStarts, EndsTheJob) { ExpectEndOfStart({}, "MPI has not started on all ranks"); }

TEST(RankLossBeforeRanksConnect, EndsTheJob) { ExpectEndOfStart({"session"}, "not all ranks are connected"); }

// It sends SIGTERM to all when one has died, and SIGKILL a second later.
TEST(RankLossUnderPlainMpirun, IsNoDrain) {
  LossServer server(std::vector<std::string>{});
  server.Signal(3, SIGKILL);
  server.ExpectTypedError("rank 3 on ");
  EXPECT_NE(server.server().process().Wait(kLimit), 0);
  ExpectNothingStaysBehind(server.server().process());
}

TEST(RankLossAfterATerm, IsNoDrain) {
  LossServer server;
  server.Signal(0, SIGTERM);
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  server.Signal(2, SIGKILL);
  server.ExpectTypedError("rank 2 on ");
  server.ExpectEnd();
}

TEST(RankTimeout, TooShortATimeIsRefusedWithTheLeast) {
  const ProgramResult result =
      RunProgram(2, {"serve", DemoModel(), "--tp=2", "--rank-timeout=6.5", "--lost-rank-linger=3"});
  EXPECT_EQ(result.exit_status, 2);
  EXPECT_THAT(result.err, HasSubstr("--rank-timeout 6.5"));
  EXPECT_THAT(result.err, HasSubstr("at least 7"));
}

}  // namespace
}  // namespace ternion
