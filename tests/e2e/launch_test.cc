// ternion launch: checks, starts, brings back.
#include <gtest/gtest.h>
#include <signal.h>

#include <fstream>
#include <iterator>
#include <string>

#include "tests/support/demo_server.h"
#include "tests/support/program.h"
#include "tests/support/temp_folder.h"

namespace ternion {
namespace {

constexpr std::chrono::seconds kStartLimit{60};

std::string ClusterText(const std::string& more_top = "", const std::string& more_serve = "") {
  return more_top + "directory = \"" + SourcePath("") +
         "\"\noversubscribe = true\n[[host]]\nname = \"localhost\"\nslots = 4\n[serve]\nmodel = "
         "\"configs/demo\"\n"
         "tp = 2\npp = 2\nthreads = 1\ndevice = \"cpu\"\nhost = \"127.0.0.1\"\nport = 0\n" +
         more_serve;
}

std::string FileText(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

// The port of the newest server in the log, once it has told `servers` of them.
uint16_t WaitForPort(Process& process, size_t servers) {
  const std::string address = "http://127.0.0.1:";
  const auto deadline = std::chrono::steady_clock::now() + kStartLimit;
  while (std::chrono::steady_clock::now() < deadline) {
    const std::string log = process.Err();
    size_t place = 0, found = 0;
    for (size_t next = log.find(address); next != std::string::npos; next = log.find(address, next + 1)) {
      place = next;
      ++found;
    }
    if (found >= servers && log.find('\n', place) != std::string::npos) {
      return static_cast<uint16_t>(std::stoi(log.substr(place + address.size())));
    }
    if (process.Wait(std::chrono::milliseconds(20)).has_value()) break;
  }
  ADD_FAILURE() << "no server " << servers << ":\n" << process.Err();
  return 0;
}

TEST(LaunchTest, BringsAJobBackWhenARankWasKilled) {
  const TempFolder folder;
  folder.Write("key", "a-very-secret-key\n");
  folder.Write("cluster.toml", ClusterText() + "[secret-files]\nTERNION_API_KEY = \"" +
                                   (folder.path() / "key").string() + "\"\n");
  const auto process = StartProgram(1, {"launch", (folder.path() / "cluster.toml").string(), "--restart=1"});
  const std::string request = CompletionRequest("A mutex", 8).dump();
  const std::string key = "Authorization: Bearer a-very-secret-key\r\n";
  const uint16_t first = WaitForPort(*process, 1);
  ASSERT_NE(first, 0);
  const HttpReply before = HttpClient(first).Post("/v1/completions", request, key);
  EXPECT_EQ(before.status, 200) << before.body;
  EXPECT_EQ(HttpClient(first).Post("/v1/completions", request).status, 401);
  for (const pid_t pid : process->Members()) {
    EXPECT_EQ(FileText("/proc/" + std::to_string(pid) + "/cmdline").find("a-very-secret-key"),
              std::string::npos);
  }
  EXPECT_EQ(process->Err().find("a-very-secret-key"), std::string::npos);

  const auto victims = process->Members("OMPI_COMM_WORLD_RANK=3");
  ASSERT_EQ(victims.size(), 1u);
  kill(victims[0], SIGKILL);
  const uint16_t second = WaitForPort(*process, 2);
  ASSERT_NE(second, 0);
  EXPECT_NE(process->Err().find("a rank was lost; restart 1 of 1 in 1 s"), std::string::npos)
      << process->Err();
  const HttpReply after = HttpClient(second).Post("/v1/completions", request, key);
  EXPECT_EQ(after.status, 200);
  EXPECT_EQ(Body(after)["choices"], Body(before)["choices"]);

  // The restarts are used up: the status is the job's.
  const auto again = process->Members("OMPI_COMM_WORLD_RANK=1");
  ASSERT_EQ(again.size(), 1u);
  kill(again[0], SIGKILL);
  EXPECT_EQ(process->Wait(kStartLimit), 4) << process->Err();
}

TEST(LaunchTest, BringsAJobBackWhenARankWasStopped) {
  const TempFolder folder;
  folder.Write("cluster.toml", ClusterText());
  const auto process = StartProgram(1, {"launch", (folder.path() / "cluster.toml").string(), "--restart=1"});
  const std::string request = CompletionRequest("A mutex", 8).dump();
  const uint16_t first = WaitForPort(*process, 1);
  ASSERT_NE(first, 0);
  const auto stopped = process->Members("OMPI_COMM_WORLD_RANK=2");
  ASSERT_EQ(stopped.size(), 1u);
  kill(stopped[0], SIGSTOP);
  const uint16_t second = WaitForPort(*process, 2);
  ASSERT_NE(second, 0);
  EXPECT_EQ(process->Members("OMPI_COMM_WORLD_RANK=2").size(), 1u) << "the stopped one is gone";
  EXPECT_EQ(Post(second, request).status, 200);
  kill(process->pid(), SIGTERM);
  EXPECT_EQ(process->Wait(kStartLimit), 0) << process->Err();
}

TEST(LaunchTest, DrainsWhenAskedToEnd) {
  const TempFolder folder;
  folder.Write("cluster.toml", ClusterText());
  const auto process = StartProgram(1, {"launch", (folder.path() / "cluster.toml").string(), "--restart"});
  ASSERT_NE(WaitForPort(*process, 1), 0);
  kill(process->pid(), SIGTERM);
  EXPECT_EQ(process->Wait(kStartLimit), 0) << process->Err();
  EXPECT_NE(process->Err().find("drained, all requests have ended"), std::string::npos) << process->Err();
  EXPECT_TRUE(process->Members().empty());
}

TEST(LaunchTest, ChecksHostsFirst) {
  const TempFolder folder;
  // In place of ssh: one host answers, the other cannot be reached.
  folder.Write("agent",
               "#!/bin/sh\n[ \"$1\" = near ] || { echo \"no route to $1\" >&2; exit 255; }\nshift\n"
               "exec sh -c \"$*\"\n");
  ASSERT_EQ(RunCommand({"chmod", "+x", (folder.path() / "agent").string()}).exit_status, 0);
  folder.Write("cluster.toml",
               "ssh = \"" + (folder.path() / "agent").string() + "\"\ndirectory = \"" + SourcePath("") +
                   "\"\n[[host]]\nname = \"near\"\nslots = 1\n[[host]]\nname = \"far\"\nslots = 1\n"
                   "[serve]\nmodel = \"configs/demo\"\ntp = 2\ndevice = \"cpu\"\n");
  const ProgramResult result =
      RunProgram(1, {"launch", (folder.path() / "cluster.toml").string(), "--check"});
  EXPECT_EQ(result.exit_status, 1);
  EXPECT_NE(result.err.find("far: its check ended with status 255: no route to far\n"), std::string::npos)
      << result.err;
  EXPECT_EQ(result.err.find("near: "), std::string::npos) << result.err;
}

// Statuses of the ranks come through, though mpirun with --enable-recovery hides them.
TEST(LaunchTest, HasTheStatusOfTheJob) {
  const TempFolder folder;
  folder.Write("cluster.toml", ClusterText("", "kv-memory = \"lots\"\n"));
  const ProgramResult result =
      RunProgram(1, {"launch", (folder.path() / "cluster.toml").string(), "--restart"});
  EXPECT_EQ(result.exit_status, 2) << result.err;
  EXPECT_EQ(result.err.find("restart"), std::string::npos) << result.err;
}

TEST(LaunchTest, RefusesAFileByLine) {
  const TempFolder folder;
  folder.Write("cluster.toml", ClusterText("", "tpp = 3\n"));
  const std::string file = (folder.path() / "cluster.toml").string();
  const ProgramResult result = RunProgram(1, {"launch", file, "--dry-run"});
  EXPECT_EQ(result.exit_status, 2);
  EXPECT_EQ(result.err,
            "ternion: " + file + ":14: ternion serve has no option tpp; ternion serve --help lists them\n");
}

}  // namespace
}  // namespace ternion
