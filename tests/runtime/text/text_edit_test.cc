#include "runtime/text/text_edit.h"

#include <gtest/gtest.h>

namespace ternion {
namespace {

using Ranges = std::vector<TextRange>;

// "abcdef" -> "XXabYefZ": two bytes put in front, "cd" replaced by one, one put behind.
const std::vector<TextEdit> kEdits = {{0, 0, 2}, {2, 2, 1}, {6, 0, 1}};

Ranges Move(const Ranges& ranges) { return MoveRanges(ranges, kEdits); }

TEST(TextEdit, RangesMoveWithTheirText) {
  EXPECT_EQ(Move({}), Ranges());
  EXPECT_EQ(Move({{0, 1}}), (Ranges{{2, 3}}));
  EXPECT_EQ(Move({{0, 2}, {4, 5}}), (Ranges{{2, 4}, {5, 6}}));
  EXPECT_EQ(Move({{0, 6}}), (Ranges{{2, 7}}));
  EXPECT_EQ(MoveRanges(Ranges{{1, 3}, {5, 6}}, {}), (Ranges{{1, 3}, {5, 6}}));
}

TEST(TextEdit, ARangeThatSharesAByteTakesTheWholeEdit) {
  EXPECT_EQ(Move({{2, 3}}), (Ranges{{4, 5}}));
  EXPECT_EQ(Move({{3, 4}}), (Ranges{{4, 5}}));
  EXPECT_EQ(Move({{3, 5}}), (Ranges{{4, 6}}));
  EXPECT_EQ(Move({{2, 3}, {3, 4}}), (Ranges{{4, 5}}));  // both are that one byte now
}

TEST(TextEdit, WhatIsGoneIsInNoRange) {
  EXPECT_EQ(MoveRanges(Ranges{{1, 2}, {3, 4}}, std::vector<TextEdit>{{1, 1, 0}}), (Ranges{{2, 3}}));
}

TEST(TextEdit, RangesOfAPartCountFromItsBeginning) {
  const Ranges ranges = {{0, 2}, {4, 8}, {9, 10}};
  EXPECT_EQ(RangesWithin(ranges, {1, 5}), (Ranges{{0, 1}, {3, 4}}));
  EXPECT_EQ(RangesWithin(ranges, {2, 4}), Ranges());
  EXPECT_EQ(RangesWithin(ranges, {5, 10}), (Ranges{{0, 3}, {4, 5}}));
}

}  // namespace
}  // namespace ternion
