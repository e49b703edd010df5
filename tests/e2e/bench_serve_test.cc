// `ternion bench serve` against `ternion serve`, as a user runs both.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <ostream>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/demo_server.h"
#include "tests/support/program.h"
#include "tests/support/temp_folder.h"

namespace ternion {
namespace {

using nlohmann::json;
using testing::HasSubstr;

constexpr int kBadArguments = 2;

std::string Url(const DemoServer& server) {
  return "--url=http://127.0.0.1:" + std::to_string(server.port());
}

ProgramResult BenchServe(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), {"bench", "serve"});
  return RunProgram(1, arguments);
}

std::string ReadFile(const std::filesystem::path& path) {
  std::ifstream file(path);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

// The number in a row of the printed block.
double RowValue(const std::string& block, const std::string& name) {
  const size_t at = block.find("\n" + name + ":");
  EXPECT_NE(at, block.npos) << name << " in " << block;
  return at == block.npos ? -1 : std::stod(block.substr(at + name.size() + 2));
}

// The lines of notes, but for the one that a busy machine earns.
std::string NotesOfTheRun(const std::string& err) {
  std::string notes;
  std::istringstream lines(err);
  for (std::string line; std::getline(lines, line);) {
    const bool is_note = line.rfind("note:", 0) == 0;
    if (is_note && line.find("this host is too slow") == line.npos) notes += line + "\n";
  }
  return notes;
}

// A run with --json, of which every request succeeds with as many tokens as it asked for.
json RunAndCheck(const DemoServer& server, int64_t requests, std::vector<std::string> arguments) {
  const TempFolder folder;
  const std::filesystem::path report = folder.path() / "report.json";
  const std::filesystem::path picture = folder.path() / "latencies.svg";
  arguments.insert(arguments.end(), {Url(server), "--requests=" + std::to_string(requests),
                                     "--json=" + report.string(), "--svg=" + picture.string()});
  const ProgramResult result = BenchServe(arguments);
  EXPECT_EQ(result.exit_status, 0) << result.err;
  EXPECT_EQ(NotesOfTheRun(result.err), "");
  json out = json::parse(ReadFile(report), nullptr, /*allow_exceptions=*/false);
  if (!out.is_object()) {
    ADD_FAILURE() << "no report: " << result.out << result.err;
    return json::object();
  }
  EXPECT_THAT(ReadFile(picture),
              testing::AllOf(testing::StartsWith("<svg"), HasSubstr("End-to-end Latency")));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 2)
      << "files beside the two";

  const json& values = out["requests"];
  EXPECT_EQ(values["status"], json(std::vector<std::string>(requests, "done")));
  EXPECT_EQ(values["output_lens"], values["asked_output_lens"]);
  int64_t input = 0;
  int64_t output = 0;
  for (const json& length : values["input_lens"]) input += length.get<int64_t>();
  for (const json& length : values["output_lens"]) output += length.get<int64_t>();
  EXPECT_EQ(RowValue(result.out, "Successful requests"), requests);
  EXPECT_EQ(RowValue(result.out, "Failed requests"), 0);
  EXPECT_EQ(RowValue(result.out, "Total input tokens"), input);
  EXPECT_EQ(RowValue(result.out, "Total generated tokens"), output);
  EXPECT_GT(RowValue(result.out, "Median TTFT (ms)"), 0);
  EXPECT_GE(RowValue(result.out, "P99 E2EL (ms)"), RowValue(result.out, "P99 TTFT (ms)"));
  EXPECT_EQ(out["config"]["model_id"], "demo");
  return out;
}

TEST(BenchServeTest, ClosedLoopAndPoissonArrivals) {
  const DemoServer server(1, 1);
  const json closed = RunAndCheck(
      server, 12,
      {"--concurrency=3", "--input-len=24", "--output-len=16", "--goodput", "e2el:1e6", "ttft:1e6"});
  EXPECT_EQ(closed["requests"]["input_lens"], json(std::vector<int>(12, 24)));
  EXPECT_EQ(closed["requests"]["output_lens"], json(std::vector<int>(12, 16)));
  EXPECT_EQ(closed["summary"]["max_concurrent_requests"], 3);
  EXPECT_EQ(closed["summary"]["request_goodput"], closed["summary"]["request_throughput"]);

  const std::vector<std::string> poisson = {"--rate=40", "--input-len=uniform:4:40",
                                            "--output-len=normal:12:4:20", "--shared-prefix=50%", "--seed=5"};
  const json first = RunAndCheck(server, 20, poisson);
  const json second = RunAndCheck(server, 20, poisson);
  for (const char* key : {"start_times", "input_lens", "output_lens"}) {
    EXPECT_EQ(first["requests"][key], second["requests"][key]) << key;
  }
  EXPECT_GE(first["summary"]["duration"], first["requests"]["start_times"].back());
}

TEST(BenchServeTest, PromptsOfAFile) {
  const DemoServer server(1, 1);
  const TempFolder folder;
  const std::string prompts = folder
                                  .Write("prompts.jsonl",
                                         "{\"prompt\": \"The std::vector class\", \"output_len\": 5}\n"
                                         "{\"prompt\": [4080, 100, 101, 102], \"output_len\": 7}\n"
                                         "{\"prompt\": \"A mutex\"}\n")
                                  .string();
  const json report = RunAndCheck(server, 3, {"--concurrency=1", "--prompts=" + prompts, "--output-len=9"});
  EXPECT_EQ(report["requests"]["output_lens"], json({5, 7, 9}));
  EXPECT_EQ(report["requests"]["input_lens"][1], 4);
}

TEST(BenchServeTest, CountsWhatAFullServerRefuses) {
  const DemoServer server(1, 1, {"--max-queue=1", "--max-sequences=1"});
  const ProgramResult result =
      BenchServe({Url(server), "--concurrency=8", "--requests=32", "--input-len=16", "--output-len=32"});
  const double done = RowValue(result.out, "Successful requests");
  const double refused = RowValue(result.out, "Refused requests (429)");
  EXPECT_EQ(result.exit_status, 0);
  EXPECT_GE(done, 1);
  EXPECT_GE(refused, 1);
  EXPECT_EQ(done + refused, 32);
  EXPECT_EQ(RowValue(result.out, "Total generated tokens"), done * 32);
  EXPECT_THAT(result.err, HasSubstr("HTTP 429"));
}

TEST(BenchServeTest, ASignalEndsTheRunWithItsReport) {
  const DemoServer server(1, 1);
  const auto bench = StartProgram(1, {"bench", "serve", Url(server), "--concurrency=2", "--requests=100000",
                                      "--input-len=8", "--output-len=8"});
  ASSERT_TRUE(bench->WaitForErr("100000 requests", std::chrono::seconds(20))) << bench->Err();
  std::this_thread::sleep_for(std::chrono::seconds(2));
  ASSERT_EQ(kill(bench->pid(), SIGINT), 0);
  EXPECT_EQ(bench->Wait(std::chrono::seconds(20)), 1) << bench->Err();
  EXPECT_THAT(bench->Err(), HasSubstr("stopped by a signal"));
  EXPECT_GE(RowValue(bench->Out(), "Successful requests"), 1);
}

struct BadBench {
  std::string name;
  std::vector<std::string> arguments;
  std::vector<std::string> mentions;
};

void PrintTo(const BadBench& bad, std::ostream* out) { *out << bad.name; }

class BadBenchTest : public testing::TestWithParam<BadBench> {};

TEST_P(BadBenchTest, IsRefusedBeforeAnyRequest) {
  const ProgramResult result = BenchServe(GetParam().arguments);
  EXPECT_EQ(result.exit_status, kBadArguments);
  EXPECT_EQ(result.out, "");
  EXPECT_THAT(result.err, testing::StartsWith("ternion: "));
  EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
  for (const std::string& text : GetParam().mentions) EXPECT_THAT(result.err, HasSubstr(text));
}

const std::vector<BadBench> kBadBenches = {
    {"NoPace", {}, {"--rate", "--concurrency"}},
    {"TwoPaces", {"--rate=1", "--concurrency=1"}, {"--rate", "--concurrency"}},
    {"Rate", {"--rate=-1"}, {"--rate"}},
    {"Url", {"--rate=1", "--url=https://host"}, {"https://host", "TLS", "http://HOST:PORT"}},
    {"Length", {"--rate=1", "--input-len=gauss:5"}, {"--input-len gauss:5", "uniform:A:B"}},
    {"Prefix", {"--rate=1", "--shared-prefix=9000"}, {"9000", "512"}},
    {"Goodput", {"--rate=1", "--goodput", "itl:5"}, {"itl:5", "tpot:MS"}},
    {"PromptFile", {"--rate=1", "--prompts=/no/file"}, {"/no/file"}},
    {"TwoKindsOfPrompts", {"--rate=1", "--prompts=/no/file", "--input-len=5"}, {"--prompts", "--input-len"}},
    {"JsonFolder", {"--rate=1", "--json=/no/folder/file"}, {"--json", "/no/folder/file", "No such file"}},
    {"TooMany", {"--concurrency=2000000000"}, {"2000000000", "ulimit"}},
};

INSTANTIATE_TEST_SUITE_P(Table, BadBenchTest, testing::ValuesIn(kBadBenches),
                         [](const auto& test) { return test.param.name; });

TEST(BenchServeTest, TellsWhatTheServerWillNotTake) {
  const DemoServer server(1, 1, {"--api-key=secret"});
  const ProgramResult long_prompts =
      BenchServe({Url(server), "--api-key=secret", "--rate=1", "--input-len=2000", "--output-len=100"});
  EXPECT_EQ(long_prompts.exit_status, kBadArguments);
  EXPECT_THAT(long_prompts.err, testing::AllOf(HasSubstr("2000 tokens"), HasSubstr("takes 2048")));
  const ProgramResult no_key = BenchServe({Url(server), "--rate=1"});
  EXPECT_EQ(no_key.exit_status, 1);
  EXPECT_THAT(no_key.err, HasSubstr("--api-key"));
  const ProgramResult nobody = BenchServe({"--url=http://127.0.0.1:1", "--rate=1"});
  EXPECT_EQ(nobody.exit_status, 1);
  EXPECT_THAT(nobody.err, HasSubstr("cannot connect"));
}

}  // namespace
}  // namespace ternion
