#include "runtime/checkpoint/floats.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>

#include "tests/runtime/checkpoint/checkpoint_writer.h"

namespace ternion {
namespace {

FileTensor Borrow(const std::string& bytes, DType dtype) {
  FileTensor tensor;
  tensor.dtype = dtype;
  tensor.data = {reinterpret_cast<const std::byte*>(bytes.data()), bytes.size()};
  tensor.shape = {tensor.size()};
  return tensor;
}

// IEEE 754-2019, 3.4: sign, five bits of exponent, ten of fraction.
float HalfByDefinition(uint16_t bits) {
  const int exponent = (bits >> 10) & 31;
  const int fraction = bits & 1023;
  const float sign = (bits & 0x8000) != 0 ? -1.0f : 1.0f;
  if (exponent == 31) return fraction == 0 ? sign * INFINITY : NAN;
  if (exponent == 0) return sign * std::ldexp(static_cast<float>(fraction), -24);
  return sign * std::ldexp(static_cast<float>(1024 + fraction), exponent - 25);
}

TEST(ReadFloats, ReadsEveryHalf) {
  std::vector<uint16_t> halves(65536);
  for (size_t i = 0; i < halves.size(); ++i) halves[i] = static_cast<uint16_t>(i);
  const std::string bytes = BytesOf(halves);
  std::vector<float> got(halves.size());
  ReadFloats(Borrow(bytes, DType::kF16), 0, absl::MakeSpan(got));
  for (size_t i = 0; i < halves.size(); ++i) {
    const float expected = HalfByDefinition(halves[i]);
    if (std::isnan(expected)) {
      ASSERT_TRUE(std::isnan(got[i])) << i;
    } else {
      ASSERT_EQ(std::bit_cast<uint32_t>(got[i]), std::bit_cast<uint32_t>(expected)) << i;
    }
  }
}

TEST(ReadFloats, ReadsUnalignedPartsOfFloatsAndBFloat16) {
  const std::string floats = BytesOf(std::vector<float>{0.0f, 1.5f, -2.25f, 3e20f}).substr(3);
  FileTensor tensor = Borrow(floats, DType::kF32);
  tensor.data.remove_prefix(1);
  float two[2];
  ReadFloats(tensor, 1, absl::MakeSpan(two));
  EXPECT_EQ(two[0], -2.25f);
  EXPECT_EQ(two[1], 3e20f);

  const std::string brains = BytesOf(std::vector<uint16_t>{0, 0x3fc0, 0xc010, 0x0001}).substr(1);
  tensor = Borrow(brains, DType::kBF16);
  tensor.data.remove_prefix(1);
  float three[3];
  ReadFloats(tensor, 0, absl::MakeSpan(three));
  EXPECT_EQ(three[0], 1.5f);
  EXPECT_EQ(three[1], -2.25f);
  EXPECT_EQ(three[2], std::ldexp(1.0f, -133));
}

TEST(RoundToBFloat16, RoundsToNearestTiesToEven) {
  EXPECT_EQ(RoundToBFloat16(1.0f).bits, 0x3f80);
  EXPECT_EQ(RoundToBFloat16(std::bit_cast<float>(0x3f808000u)).bits, 0x3f80);  // half way, even below
  EXPECT_EQ(RoundToBFloat16(std::bit_cast<float>(0x3f818000u)).bits, 0x3f82);  // half way, even above
  EXPECT_EQ(RoundToBFloat16(std::bit_cast<float>(0x3f808001u)).bits, 0x3f81);
  EXPECT_EQ(RoundToBFloat16(std::bit_cast<float>(0xbf807fffu)).bits, 0xbf80);
  EXPECT_EQ(RoundToBFloat16(std::numeric_limits<float>::max()).bits, 0x7f80);
  EXPECT_EQ(RoundToBFloat16(-INFINITY).bits, 0xff80);
  EXPECT_EQ(RoundToBFloat16(std::bit_cast<float>(0x7fffffffu)).bits, 0x7fff);  // a NaN stays one
  EXPECT_EQ(RoundToBFloat16(std::bit_cast<float>(0x7f800001u)).bits, 0x7fc0);
  EXPECT_TRUE(IsFinite(RoundToBFloat16(3e38f)));
  EXPECT_FALSE(IsFinite(BFloat16{0x7f80}));
  EXPECT_FALSE(IsFinite(BFloat16{0xffc1}));
}

TEST(ReadBFloat16, KeepsTheBitsAndRoundsTheRest) {
  const std::string brains = BytesOf(std::vector<uint16_t>{0x7f81, 0x8000, 0x1234});
  BFloat16 kept[2];
  ReadBFloat16(Borrow(brains, DType::kBF16), 0, absl::MakeSpan(kept));
  EXPECT_EQ(kept[0].bits, 0x7f81);
  EXPECT_EQ(kept[1].bits, 0x8000);

  std::vector<float> values;
  for (int i = 0; i < 5000; ++i) values.push_back(static_cast<float>(i) * 0.37f - 900.0f);
  const std::string floats = BytesOf(values);
  std::vector<BFloat16> rounded(4321);
  ReadBFloat16(Borrow(floats, DType::kF32), 100, absl::MakeSpan(rounded));
  for (size_t i = 0; i < rounded.size(); ++i)
    ASSERT_EQ(rounded[i].bits, RoundToBFloat16(values[100 + i]).bits);
}

}  // namespace
}  // namespace ternion
