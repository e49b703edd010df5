#include "kernels/cpu/scratch.h"

#include <cstdint>
#include <cstring>
#include <vector>

#include "gtest/gtest.h"

namespace ternion::cpu {
namespace {

TEST(ScratchTest, ArraysAreAlignedAndApart) {
  ScratchStack stack;
  std::vector<void*> arrays;
  const std::vector<size_t> sizes = {1, 64, 0, 5000, 3 << 20, 100, 2 << 20, 7};
  for (size_t i = 0; i < sizes.size(); ++i) {
    arrays.push_back(stack.Push(sizes[i]));
    EXPECT_EQ(reinterpret_cast<uintptr_t>(arrays[i]) % 64, 0u);
    std::memset(arrays[i], static_cast<int>(i + 1), sizes[i]);
  }
  for (size_t i = 0; i < sizes.size(); ++i) {
    const auto* bytes = static_cast<const unsigned char*>(arrays[i]);
    for (size_t k = 0; k < sizes[i]; ++k) ASSERT_EQ(bytes[k], i + 1) << "array " << i << ", byte " << k;
  }
  while (!arrays.empty()) {
    stack.Pop(arrays.back());
    arrays.pop_back();
  }
}

// What was returned is taken again, also beyond the first chunk.
TEST(ScratchTest, MemoryIsReused) {
  ScratchStack stack;
  std::vector<void*> first;
  for (int round = 0; round < 3; ++round) {
    std::vector<void*> arrays;
    for (size_t bytes : {100, 900 << 10, 900 << 10, 64}) arrays.push_back(stack.Push(bytes));
    if (round == 0) first = arrays;
    EXPECT_EQ(arrays, first);
    for (auto it = arrays.rbegin(); it != arrays.rend(); ++it) stack.Pop(*it);
  }
}

TEST(ScratchTest, NestedScopes) {
  Scratch<int32_t> outer(100);
  for (int32_t i = 0; i < 100; ++i) outer[i] = i;
  for (int round = 0; round < 2; ++round) {
    Scratch<double> inner(300000);
    inner[0] = inner[299999] = -1;
  }
  for (int32_t i = 0; i < 100; ++i) EXPECT_EQ(outer[i], i);
}

}  // namespace
}  // namespace ternion::cpu
