#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "runtime/cache/kv_cache.h"

namespace ternion {
namespace {

constexpr KvFormat kFormats[] = {KvFormat::kF32,  KvFormat::kF16,     KvFormat::kInt8,   KvFormat::kInt4,
                                 KvFormat::kInt3, KvFormat::kInt4G32, KvFormat::kInt3G32};

TEST(KvFormats, HaveNames) {
  for (KvFormat format : kFormats) {
    const auto parsed = ParseKvFormat(KvFormatName(format));
    ASSERT_TRUE(parsed.ok()) << parsed.status();
    EXPECT_EQ(*parsed, format);
  }
  const std::string error(ParseKvFormat("int5").status().message());
  for (KvFormat format : kFormats) EXPECT_THAT(error, testing::HasSubstr(std::string(KvFormatName(format))));
}

// Two times 64 tokens: codes, scales, and at int3 a bit more for one token's channels.
TEST(KvFormats, TakeTheirBits) {
  const auto of_128 = [](KvFormat format) { return KvCache::BlockBytes(format, {0, 20, 0, 5, 4, 128}); };
  EXPECT_EQ(of_128(KvFormat::kF32), 5 * 2 * 64 * 128 * 4);
  EXPECT_EQ(of_128(KvFormat::kF16), 5 * 2 * 64 * 128 * 2);
  EXPECT_EQ(of_128(KvFormat::kInt8), 5 * 2 * (64 * 128 + 64 * 2));
  EXPECT_EQ(of_128(KvFormat::kInt4), 5 * 2 * (64 * 128 / 2 + 64 * 2));
  EXPECT_EQ(of_128(KvFormat::kInt3), 5 * 2 * (64 * 128 * 3 / 8 + 64 * 2 + 128 / 8));
  EXPECT_EQ(of_128(KvFormat::kInt4G32), 5 * 2 * (64 * 128 / 2 + 64 * 4 * 4));
  EXPECT_EQ(of_128(KvFormat::kInt3G32), 5 * 2 * (64 * 128 * 3 / 8 + 64 * 4 * 4));
  // The last of three groups has 16 channels.
  EXPECT_EQ(KvCache::BlockBytes(KvFormat::kInt4G32, {0, 1, 0, 1, 1, 80}), 2 * (64 * 80 / 2 + 64 * 3 * 4));
}

TEST(KvFormats, PackedOnesNeedAMultipleOf16Channels) {
  const auto backend = MakeCpuBackend(1);
  for (KvFormat format : kFormats) {
    for (int head_dim : {16, 80, 20, 100}) {
      const bool allowed = head_dim % 16 == 0 || !IsPacked(format);
      EXPECT_EQ(CheckKvFormat(format, head_dim).ok(), allowed);
      const auto cache = KvCache::Create(*backend, format, /*query_bits=*/0, /*layers=*/2, /*blocks=*/3,
                                         {0, 2, 0, 1, 2, head_dim});
      EXPECT_EQ(cache.ok(), allowed);
      if (allowed) continue;
      EXPECT_THAT(std::string(cache.status().message()), testing::HasSubstr("multiple of 16"));
    }
  }
}

TEST(KvCache, LayersKnowTheirFormatAndQueryBits) {
  const auto backend = MakeCpuBackend(1);
  const auto cache = KvCache::Create(*backend, KvFormat::kInt3, /*query_bits=*/4, /*layers=*/2, /*blocks=*/3,
                                     {0, 2, 0, 1, 2, 64});
  ASSERT_TRUE(cache.ok());
  EXPECT_EQ((*cache)->layer(1).format, KvFormat::kInt3);
  EXPECT_EQ((*cache)->layer(1).query_bits, 4);
  EXPECT_EQ((*cache)->layer(1).blocks, 3);
  EXPECT_NE((*cache)->layer(0).data, (*cache)->layer(1).data);
}

}  // namespace
}  // namespace ternion
