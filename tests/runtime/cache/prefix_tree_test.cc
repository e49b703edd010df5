#include "runtime/cache/prefix_tree.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace ternion {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr int32_t kNone = PrefixTree::kNone;

std::vector<int32_t> Ramp(int64_t count, int32_t first = 0) {
  std::vector<int32_t> tokens(count);
  for (int64_t i = 0; i < count; ++i) tokens[i] = first + static_cast<int32_t>(i);
  return tokens;
}

// Puts a sequence's tokens into blocks first, first + 1, ...
void AddSequence(PrefixTree& tree, absl::Span<const int32_t> tokens, int32_t first) {
  int32_t parent = kNone;
  for (int32_t block = first; !tokens.empty(); ++block) {
    tree.Add(block, parent);
    const auto some = tokens.subspan(0, kKvBlockTokens);
    ASSERT_EQ(tree.Append(block, some), block);
    tokens.remove_prefix(some.size());
    parent = block;
  }
}

TEST(PrefixTree, FindsWholeBlocksAndThePartBehindThem) {
  PrefixTree tree(8);
  AddSequence(tree, Ramp(150), 3);
  const PrefixTree::Match all = tree.Find(Ramp(200));
  EXPECT_THAT(all.whole, ElementsAre(3, 4));
  EXPECT_EQ(all.part, 5);
  EXPECT_EQ(all.part_tokens, 150 - 128);
  EXPECT_EQ(all.tokens(), 150);
  const PrefixTree::Match shorter = tree.Find(Ramp(100));
  EXPECT_THAT(shorter.whole, ElementsAre(3));
  EXPECT_EQ(shorter.part, 4);
  EXPECT_EQ(shorter.part_tokens, 36);
  EXPECT_THAT(tree.Find(Ramp(100, 1)).whole, IsEmpty());
  EXPECT_EQ(tree.Find(Ramp(100, 1)).tokens(), 0);
}

TEST(PrefixTree, TakesTheLongestPartButNoShortOne) {
  PrefixTree tree(8);
  std::vector<int32_t> a = Ramp(64), b = Ramp(64);
  a[20] = 999;
  b[40] = 999;
  AddSequence(tree, a, 0);
  AddSequence(tree, b, 1);
  EXPECT_EQ(tree.Find(Ramp(64)).part, 1);
  EXPECT_EQ(tree.Find(Ramp(64)).part_tokens, 40);
  EXPECT_EQ(tree.Find(Ramp(PrefixTree::kLeastPart)).part_tokens, PrefixTree::kLeastPart);
  EXPECT_EQ(tree.Find(Ramp(PrefixTree::kLeastPart - 1)).part, kNone);
}

TEST(PrefixTree, ATailGrowsUntilItIsWhole) {
  PrefixTree tree(4);
  tree.Add(2, kNone);
  for (int32_t token = 0; token < kKvBlockTokens; ++token) {
    EXPECT_EQ(tree.tokens(2), token);
    EXPECT_THAT(tree.Find(Ramp(64)).whole, IsEmpty());
    EXPECT_EQ(tree.Append(2, {token}), 2);
  }
  EXPECT_THAT(tree.Find(Ramp(64)).whole, ElementsAre(2));
}

TEST(PrefixTree, ABlockThatBecomesEqualToAnotherLeavesTheTree) {
  PrefixTree tree(4);
  AddSequence(tree, Ramp(64), 0);
  tree.Add(1, kNone);
  EXPECT_EQ(tree.Append(1, Ramp(63)), 1);
  EXPECT_EQ(tree.Append(1, {63}), 0);
  EXPECT_FALSE(tree.Contains(1));
  EXPECT_TRUE(tree.Contains(0));
}

TEST(PrefixTree, TheSameTokensElsewhereAreAnotherBlock) {
  PrefixTree tree(4);
  const std::vector<int32_t> same(128, 7);
  AddSequence(tree, same, 0);
  EXPECT_THAT(tree.Find(same).whole, ElementsAre(0, 1));
  tree.Remove(1);
  EXPECT_THAT(tree.Find(same).whole, ElementsAre(0));
  EXPECT_EQ(tree.Find(same).part, kNone);
}

TEST(PrefixTree, EqualHashesCostHitsAndNeverGiveOtherTokens) {
  PrefixTree tree(8, [](uint64_t, absl::Span<const int32_t>) { return uint64_t{42}; });
  AddSequence(tree, Ramp(128), 0);
  AddSequence(tree, Ramp(64, 1000), 2);
  EXPECT_THAT(tree.Find(Ramp(128)).whole, ElementsAre(0));
  EXPECT_EQ(tree.Find(Ramp(128)).part, 1);  // looked at as a part, since its hash finds another
  EXPECT_THAT(tree.Find(Ramp(64, 1000)).whole, IsEmpty());
  tree.Remove(2);
  EXPECT_THAT(tree.Find(Ramp(64)).whole, ElementsAre(0));
}

TEST(PrefixTree, ATailThatAnotherBlockHoldsIsSuperfluous) {
  PrefixTree tree(8);
  AddSequence(tree, Ramp(64), 0);
  AddSequence(tree, Ramp(30), 1);
  AddSequence(tree, Ramp(30, 500), 2);
  AddSequence(tree, Ramp(PrefixTree::kLeastPart - 1, 700), 3);
  EXPECT_FALSE(tree.IsSuperfluous(0));
  EXPECT_TRUE(tree.IsSuperfluous(1));
  EXPECT_FALSE(tree.IsSuperfluous(2));
  EXPECT_TRUE(tree.IsSuperfluous(3));
}

// Against the longest common beginning with all sequences that were put in.
TEST(PrefixTree, FindsWhatASearchOfAllFinds) {
  std::mt19937 random(7);
  PrefixTree tree(4000);
  std::vector<std::vector<int32_t>> held;
  int32_t next = 0;
  for (int round = 0; round < 300; ++round) {
    std::vector<int32_t> tokens = held.empty() ? Ramp(200) : held[random() % held.size()];
    tokens.resize(1 + random() % 250, 5);
    tokens[random() % tokens.size()] = static_cast<int32_t>(random() % 1000);
    int64_t common = 0;
    for (const auto& other : held) common = std::max(common, CommonPrefix(other, tokens));
    const PrefixTree::Match match = tree.Find(tokens);
    const int64_t part = common % kKvBlockTokens;
    // A few tokens behind whole blocks are not worth a copy; those of blocks beyond the candidates are not seen.
    EXPECT_EQ(static_cast<int64_t>(match.whole.size()), common / kKvBlockTokens);
    EXPECT_LE(match.part_tokens, part);
    if (part >= PrefixTree::kLeastPart && held.size() < PrefixTree::kMostCandidates) {
      EXPECT_EQ(match.part_tokens, part);
    }
    // Its own tail behind what is whole.
    int32_t parent = match.whole.empty() ? kNone : match.whole.back();
    auto rest = absl::MakeConstSpan(tokens).subspan(match.whole.size() * kKvBlockTokens);
    while (!rest.empty()) {
      tree.Add(next, parent);
      const auto some = rest.subspan(0, kKvBlockTokens);
      parent = tree.Append(next, some);
      ASSERT_EQ(parent, next++);
      rest.remove_prefix(some.size());
    }
    held.push_back(tokens);
  }
}

}  // namespace
}  // namespace ternion
