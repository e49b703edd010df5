// Sharding divides the memory: every rank holds what `inspect` says of it, and little else.
#include <gtest/gtest.h>

#include <map>
#include <regex>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "tests/support/program.h"

namespace ternion {
namespace {

struct RankMemory {
  double weights_mib = 0;
  double resident_mib = 0;
};

// From the lines "rank R: weights X MiB, resident Y MiB".
std::map<int, RankMemory> LoggedMemory(const std::string& log) {
  static const std::regex line("rank ([0-9]+): weights ([0-9.]+) MiB, resident ([0-9.]+) MiB");
  std::map<int, RankMemory> ranks;
  for (auto match = std::sregex_iterator(log.begin(), log.end(), line); match != std::sregex_iterator();
       ++match) {
    ranks[std::stoi((*match)[1])] = {std::stod((*match)[2]), std::stod((*match)[3])};
  }
  return ranks;
}

// The column "weights" of the table of ranks that `inspect` prints.
std::map<int, double> InspectedWeights(const std::string& table) {
  std::map<int, double> weights_mib;
  for (const auto& line : absl::StrSplit(table, '\n')) {
    const std::vector<std::string> fields = absl::StrSplit(line, ' ', absl::SkipEmpty());
    int rank = 0;
    double mib = 0;
    if (fields.size() != 10 || !absl::SimpleAtoi(fields[0], &rank) || !absl::SimpleAtod(fields[7], &mib))
      continue;
    weights_mib[rank] = mib;
  }
  return weights_mib;
}

TEST(MemoryTest, RankHoldsItsShareAndLittleElse) {
  const std::string model = SourcePath("configs/models/bitnet-2b-4t.json");
  const ProgramResult inspected = RunProgram(1, {"inspect", "--synthetic", model, "--tp=2"});
  ASSERT_EQ(inspected.exit_status, 0) << inspected.err;
  const std::map<int, double> expected = InspectedWeights(inspected.out);
  ASSERT_EQ(expected.size(), 2u) << inspected.out;

  const ProgramResult run = RunProgram(
      2, {"generate", "--synthetic", model, "--tp=2", "--threads=1", "--ids=1,2,3", "--max-tokens=2"});
  ASSERT_EQ(run.exit_status, 0) << run.err;
  const std::map<int, RankMemory> logged = LoggedMemory(run.err);
  ASSERT_EQ(logged.size(), 2u) << run.err;
  for (const auto& [rank, memory] : logged) {
    EXPECT_EQ(memory.weights_mib, expected.at(rank)) << "rank " << rank;
    EXPECT_NEAR(memory.resident_mib, memory.weights_mib, 0.1 * memory.weights_mib) << "rank " << rank;
  }
}

// What `inspect` says of the cache: bytes a token, and the tokens that fit.
struct Cache {
  double token_bytes = 0;
  int64_t tokens = 0;
};
Cache InspectedCache(const std::vector<std::string>& more) {
  std::vector<std::string> arguments = {"inspect", DemoModel()};
  arguments.insert(arguments.end(), more.begin(), more.end());
  const ProgramResult result = RunProgram(1, arguments);
  EXPECT_EQ(result.exit_status, 0) << result.err;
  std::smatch token, fit;
  EXPECT_TRUE(std::regex_search(result.out, token, std::regex(": ([0-9.]+) bytes a token"))) << result.out;
  EXPECT_TRUE(std::regex_search(result.out, fit, std::regex("([0-9]+) tokens fit"))) << result.out;
  if (token.empty() || fit.empty()) return {};
  return {std::stod(token[1]), std::stoll(fit[1])};
}

TEST(MemoryTest, InspectTellsWhatTheCacheTakes) {
  // Eight layers of four KV heads of 64 channels; a block has 64 tokens.
  const Cache f16 = InspectedCache({"--kv-cache=f16", "--kv-memory=1MiB"});
  EXPECT_EQ(f16.token_bytes, 8 * 4 * 2 * 64 * 2);
  EXPECT_EQ(f16.tokens, 128);
  const Cache int3 = InspectedCache({"--kv-cache=int3", "--kv-memory=1MiB"});
  const int head_bytes = 2 * (64 * 64 * 3 / 8 + 64 * 2 + 64 / 8) + 16;  // a multiple of 32
  EXPECT_EQ(int3.token_bytes, 8 * 4 * head_bytes / 64.0);
  EXPECT_EQ(int3.tokens, (1 << 20) / (8 * 4 * head_bytes) * 64);
  const Cache free = InspectedCache({"--kv-cache=int3", "--device=cpu", "--tp=2"});
  EXPECT_EQ(free.token_bytes, int3.token_bytes);
  EXPECT_GT(free.tokens, 100 * int3.tokens);
}

}  // namespace
}  // namespace ternion
