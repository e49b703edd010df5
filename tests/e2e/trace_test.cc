// `--trace`: what the picture of a run shows of the pipeline.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "tests/support/demo_server.h"
#include "tests/support/program.h"
#include "tests/support/temp_folder.h"

namespace ternion {
namespace {

using nlohmann::json;
using testing::HasSubstr;

constexpr int kBatch = 8;

json ReadTrace(const std::filesystem::path& path) {
  std::ifstream file(path);
  return json::parse(file, nullptr, /*allow_exceptions=*/false);
}

// A decode step of a whole micro-batch on one rank; microseconds.
struct Step {
  double begin = 0;
  double received = 0;  // its input was there
  double end = 0;

  double work() const { return end - received; }
};
using StepsOfRank = std::map<int64_t, Step>;  // by number

// Decoding alone, without what begins and ends a batch.
std::vector<StepsOfRank> DecodeSteps(const json& trace, int ranks) {
  std::vector<StepsOfRank> steps(ranks);
  std::vector<std::map<double, double>> receives(ranks);  // begin -> end
  for (const json& event : trace) {
    if (event["ph"] != "X" || event["tid"] != 0) continue;
    const double begin = event["ts"], end = begin + event["dur"].get<double>();
    const int rank = event["pid"];
    if (event["name"] == "receive") receives[rank][begin] = end;
    if (event["name"] != "step" || event["args"]["tokens"] != kBatch) continue;
    if (event["args"]["sequences"] == kBatch) steps[rank][event["args"]["step"]] = {begin, begin, end};
  }
  for (int rank = 0; rank < ranks; ++rank) {
    for (auto& [number, step] : steps[rank]) {
      const auto receive = receives[rank].lower_bound(step.begin);
      if (receive != receives[rank].end() && receive->first < step.end) step.received = receive->second;
    }
  }
  return steps;
}

json TraceBenchSteps(int pp, std::vector<std::string> more) {
  const TempFolder folder;
  const std::string path = (folder.path() / "trace.json").string();
  std::vector<std::string> arguments = {
      "bench",          "steps",        DemoModel(),   "--pp=" + std::to_string(pp),
      "--threads=1",    "--prefill=16", "--decode=48", "--batch=" + std::to_string(kBatch),
      "--trace=" + path};
  arguments.insert(arguments.end(), more.begin(), more.end());
  const ProgramResult result = RunProgram(pp, arguments);
  EXPECT_EQ(result.exit_status, 0) << result.err;
  return ReadTrace(path);
}

double Median(std::vector<double> values) {
  if (values.empty()) return -1;
  std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
  return values[values.size() / 2];
}

// How long a stage waits though all that its next step needs is there: the stage is free, the stage before has the rows,
// and the first stage has the answer to the step that held the same sequences, which is as many steps ago as there are
// stages. Medians over the run, the worst stage's, in shares of the slowest stage's step. What a stage waits beyond that is
// the imbalance of the stages.
double NeedlessWait(const json& trace, int stages) {
  const std::vector<StepsOfRank> steps = DecodeSteps(trace, stages);
  double slowest = 0, most = 0;
  for (int stage = 0; stage < stages; ++stage) {
    const StepsOfRank& source = stage == 0 ? steps.back() : steps[stage - 1];
    std::vector<double> works, waits;
    for (const auto& [number, step] : steps[stage]) {
      works.push_back(step.work());
      const auto before = steps[stage].find(number - 1);
      const auto needed = source.find(stage == 0 ? number - stages : number);
      if (before == steps[stage].end() || needed == source.end()) continue;
      waits.push_back(step.received - std::max(before->second.end, needed->second.end));
    }
    EXPECT_GT(waits.size(), 50u);
    slowest = std::max(slowest, Median(works));
    most = std::max(most, Median(waits));
  }
  return most / slowest;
}

// A plan and its answer go through TCP and three threads, some 0.12 ms; a step takes 1.6 ms.
constexpr double kSlack = 0.25;

TEST(PipelineTrace, TwoStagesWaitForNothingButEachOther) {
  double least = 1;
  for (int run = 0; run < 3 && least > kSlack; ++run) {  // the machine may be busy with something else
    least = std::min(least, NeedlessWait(TraceBenchSteps(2, {}), 2));
  }
  EXPECT_LE(least, kSlack);
  EXPECT_GT(NeedlessWait(TraceBenchSteps(2, {"--micro-batches=1"}), 2), 2 * kSlack)
      << "stages that take turns";
}

// Four ranks on fewer cores wait for each other whatever is planned, so this is about order alone: a step begins before the
// tokens of the step before are drawn, and as many steps are in flight as stages.
TEST(PipelineTrace, FourStagesHaveFourStepsInFlight) {
  constexpr int kStages = 4;
  const std::vector<StepsOfRank> steps = DecodeSteps(TraceBenchSteps(kStages, {}), kStages);
  int64_t all = 0, full = 0, begun_before = 0;
  for (const auto& [number, step] : steps.front()) {
    int64_t in_flight = 0;
    for (int64_t other = number - kStages; other <= number; ++other) {
      const auto last = steps.back().find(other);
      if (last != steps.back().end() && last->second.end > step.begin) ++in_flight;
    }
    ++all;
    if (in_flight >= kStages) ++full;
    const auto before = steps.back().find(number - 1);
    if (before == steps.back().end() || step.begin < before->second.end) ++begun_before;
  }
  ASSERT_GT(all, 100);
  EXPECT_GT(full, all / 2) << "of " << all;
  EXPECT_GT(begun_before, all * 9 / 10) << "of " << all;
}

TEST(TraceTest, AServersTraceHoldsItsRequests) {
  const TempFolder folder;
  const std::filesystem::path path = folder.path() / "trace.json";
  {
    DemoServer server(2, 1, {"--trace=" + path.string()});
    for (int i = 0; i < 3; ++i) ASSERT_EQ(Post(server.port(), CompletionRequest("A", 5).dump()).status, 200);
    ASSERT_EQ(kill(server.Rank(0), SIGTERM), 0);
    EXPECT_EQ(server.process().Wait(std::chrono::seconds(60)), 0) << server.process().Err();
    EXPECT_THAT(server.process().Err(), HasSubstr("trace of 2 ranks"));
  }
  const json trace = ReadTrace(path);
  ASSERT_TRUE(trace.is_array());
  std::map<std::string, std::set<int>> requests;
  std::set<std::string> names[2];
  std::set<std::string> processes;
  for (const json& event : trace) {
    const std::string name = event["name"];
    if (event["ph"] == "b") requests[name].insert(event["id"].get<int>());
    if (event["ph"] == "X") names[event["pid"].get<int>()].insert(name);
    if (name == "process_name") processes.insert(event["args"]["name"].get<std::string>());
  }
  for (const char* part : {"queued", "prefill", "decode"}) EXPECT_EQ(requests[part].size(), 3u) << part;
  EXPECT_THAT(names[0],
              testing::IsSupersetOf({"step", "embed", "layers", "head", "plan", "send", "commit", "tell"}));
  EXPECT_THAT(names[1], testing::IsSupersetOf({"step", "embed", "layers", "head"}));
  EXPECT_THAT(processes, testing::Contains(testing::StartsWith("rank 1: stage 0, tp 1, ")));
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1) << "the temporary file";
}

TEST(TraceTest, APathThatCannotBeWrittenIsToldBeforeTheModelLoads) {
  const ProgramResult result =
      RunProgram(2, {"generate", DemoModel(), "--tp=2", "--prompt=A", "--trace=/no/such/folder/trace.json"});
  EXPECT_EQ(result.exit_status, 2);
  EXPECT_THAT(result.err, HasSubstr("ternion: --trace /no/such/folder/trace.json"));
  EXPECT_EQ(result.out, "");
}

}  // namespace
}  // namespace ternion
