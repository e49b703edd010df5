// Same tokens, bit for bit: the hash over all logits of a run does not depend on how many ranks there are,
// how the prompt was fed, or how many threads worked.
#include <gtest/gtest.h>

#include <string>
#include <tuple>
#include <vector>

#include "absl/strings/str_join.h"
#include "tests/support/program.h"

namespace ternion {
namespace {

std::string LogitsHash(const nlohmann::json& run) { return run.value("logits_hash", ""); }

class GridTest : public testing::TestWithParam<std::tuple<int, int>> {
 protected:
  int tp() const { return std::get<0>(GetParam()); }
  int pp() const { return std::get<1>(GetParam()); }
};

TEST_P(GridTest, LogitsAreThoseOfOneRank) {
  const std::vector<std::string> arguments = {"generate",
                                              DemoModel(),
                                              "--max-tokens=8",
                                              "--ignore-eos",
                                              "--prompt",
                                              "The unordered_map container stores its elements in buckets, "
                                              "and each bucket is chosen by the hash of a key"};
  const nlohmann::json alone = RunForJson(1, 1, arguments);
  ASSERT_GE(alone["prompt_ids"].size(), 20u);
  ASSERT_EQ(alone["ids"].size(), 8u);
  const nlohmann::json sharded = RunForJson(tp(), pp(), arguments);
  EXPECT_EQ(sharded["ids"], alone["ids"]);
  EXPECT_EQ(LogitsHash(sharded), LogitsHash(alone));
}

std::string GridName(const testing::TestParamInfo<std::tuple<int, int>>& info) {
  return "tp" + std::to_string(std::get<0>(info.param)) + "pp" + std::to_string(std::get<1>(info.param));
}

INSTANTIATE_TEST_SUITE_P(AllGrids, GridTest,
                         testing::Combine(testing::Values(1, 2, 4, 8), testing::Values(1, 2, 4)), GridName);

// 300 ids: more than four KV blocks, with a ragged end for every piece length below.
std::vector<std::string> LongPrompt(const std::string& kv_cache) {
  std::vector<int> ids;
  for (int i = 0; i < 300; ++i) ids.push_back((i * i * 31 + i * 7) % 4000);
  return {"generate",       DemoModel(),    "--ids=" + absl::StrJoin(ids, ","),
          "--max-tokens=4", "--ignore-eos", "--kv-cache=" + kv_cache};
}

// Where MPI moves large messages only within calls, a stage must not sleep before its message has left.
TEST(PipelineTest, LargeMessagesArriveWhateverMovesThem) {
  const std::string alone = LogitsHash(RunForJson(1, 1, LongPrompt("f16")));
  ASSERT_FALSE(alone.empty());
  std::vector<std::string> arguments = LongPrompt("f16");
  for (const char* more : {"--pp=2", "--threads=1", "--json"}) arguments.push_back(more);
  for (const std::vector<std::string>& transport :
       {std::vector<std::string>{"OMPI_MCA_btl=tcp,self"},
        std::vector<std::string>{"OMPI_MCA_btl=vader,self",
                                 "OMPI_MCA_btl_vader_single_copy_mechanism=none"}}) {
    std::vector<std::string> environment = transport;
    environment.push_back("OMPI_MCA_pml=ob1");
    const ProgramResult result = RunCommand(ProgramCommand(2, arguments), environment);
    ASSERT_EQ(result.exit_status, 0) << transport[0] << ": " << result.err;
    EXPECT_EQ(LogitsHash(nlohmann::json::parse(result.out)), alone) << transport[0];
  }
}

struct Feeding {
  int pieces;
  int tp;
  int pp;
};

class PiecesTest : public testing::TestWithParam<std::string> {};

TEST_P(PiecesTest, PromptMayBeFedInPieces) {
  const std::string whole = LogitsHash(RunForJson(1, 1, LongPrompt(GetParam())));
  ASSERT_FALSE(whole.empty());
  for (const Feeding& feeding : {Feeding{1, 1, 1}, Feeding{7, 1, 1}, Feeding{64, 1, 1}, Feeding{130, 1, 1},
                                 Feeding{7, 2, 2}, Feeding{130, 4, 1}}) {
    std::vector<std::string> arguments = LongPrompt(GetParam());
    arguments.push_back("--max-batch-tokens=" + std::to_string(feeding.pieces));
    EXPECT_EQ(LogitsHash(RunForJson(feeding.tp, feeding.pp, arguments)), whole)
        << "in pieces of " << feeding.pieces << " tokens at tp " << feeding.tp << ", pp " << feeding.pp;
  }
}

INSTANTIATE_TEST_SUITE_P(KvFormats, PiecesTest, testing::Values("f32", "f16"),
                         [](const auto& test) { return test.param; });

TEST(ThreadsTest, DoNotChangeBits) {
  std::vector<std::string> arguments = LongPrompt("f16");
  const std::string two = LogitsHash(RunForJson(1, 1, arguments));
  arguments.push_back("--json");
  for (const char* threads : {"--threads=1", "--threads=3"}) {
    std::vector<std::string> more = arguments;
    more.push_back(threads);
    const ProgramResult result = RunProgram(1, more);
    ASSERT_EQ(result.exit_status, 0) << result.err;
    EXPECT_EQ(LogitsHash(nlohmann::json::parse(result.out)), two) << threads;
  }
}

// A sampled run draws by seed, choice and position, so it too is the same on every grid.
TEST(SamplingTest, SeededDrawsAreThoseOfOneRank) {
  const std::vector<std::string> arguments = {"generate",   DemoModel(),         "--prompt",
                                              "A mutex is", "--max-tokens=12",   "--ignore-eos",
                                              "--seed=7",   "--temperature=0.9", "--top-p=0.95"};
  const nlohmann::json alone = RunForJson(1, 1, arguments);
  ASSERT_EQ(alone["ids"].size(), 12u);
  for (const auto& [tp, pp] : {std::pair(2, 1), std::pair(1, 2), std::pair(2, 2)}) {
    EXPECT_EQ(RunForJson(tp, pp, arguments)["ids"], alone["ids"]) << "at tp " << tp << ", pp " << pp;
  }
}

}  // namespace
}  // namespace ternion
