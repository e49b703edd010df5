#include "runtime/checkpoint/packed_rows.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

#include "runtime/checkpoint/packed_uniform_rows.h"
#include "tests/kernels/uniform_cases.h"

namespace ternion {
namespace {

void ExpectRowsBack(TernaryLayout layout, int64_t outputs, int64_t inputs) {
  std::minstd_rand random(7);
  std::vector<uint8_t> codes(static_cast<size_t>(outputs * inputs));
  for (uint8_t& code : codes) code = static_cast<uint8_t>((random() >> 8) % 3);
  const auto backend = MakeCpuBackend(1);
  const auto packed = backend->PackTernary(layout, outputs, inputs, [&](int64_t o, absl::Span<uint8_t> row) {
    std::copy_n(codes.begin() + o * inputs, inputs, row.begin());
  });
  ASSERT_TRUE(packed.ok()) << packed.status();
  PackedRows rows(layout, inputs, static_cast<const uint8_t*>(packed->data.data()));
  std::vector<uint8_t> row(static_cast<size_t>(inputs));
  for (int64_t o = 0; o < outputs; ++o) {
    rows.Read(o, absl::MakeSpan(row));
    ASSERT_TRUE(std::equal(row.begin(), row.end(), codes.begin() + o * inputs))
        << "[" << outputs << ", " << inputs << "] output " << o;
  }
}

TEST(PackedRows, GivesBackWhatWasPacked) {
  for (const TernaryLayout layout : {TernaryLayout::kByOutput, TernaryLayout::kByInput}) {
    ExpectRowsBack(layout, 1, 32);
    ExpectRowsBack(layout, 257, 100);
    ExpectRowsBack(layout, 300, 513);
    ExpectRowsBack(layout, 512, 256);
  }
}

TEST(FiveTrits, GiveBackWhatWasPacked) {
  std::minstd_rand random(3);
  for (const size_t n : {1u, 4u, 5u, 6u, 7u, 8u, 9u, 13u, 512u}) {
    std::vector<uint8_t> codes(n), got(n);
    for (uint8_t& code : codes) code = static_cast<uint8_t>((random() >> 8) % 3);
    std::vector<uint8_t> bytes(static_cast<size_t>(FiveTritBytes(static_cast<int64_t>(n))));
    EXPECT_EQ(bytes.size(), (n + 4) / 5);
    PackFiveTrits(codes, bytes.data());
    UnpackFiveTrits(bytes.data(), absl::MakeSpan(got));
    EXPECT_EQ(got, codes);
  }
}

TEST(FiveTrits, BytesOver242AreNoTrits) {
  for (int byte = 0; byte < 256; ++byte) {
    const auto packed = static_cast<uint8_t>(byte);
    std::vector<uint8_t> codes(5), wrong(5, 3);
    UnpackFiveTrits(&packed, absl::MakeSpan(codes));
    EXPECT_EQ(codes == wrong, byte > 242) << byte;
  }
}

TEST(PackedUniformRows, GiveBackWhatWasPacked) {
  const auto backend = MakeCpuBackend(1);
  for (const int bits : {2, 3, 4}) {
    for (const ScaleType scale : {ScaleType::kFloat16, ScaleType::kFloat32}) {
      const UniformMatrix w = RandomUniform({bits, 64, scale}, 70, 320, 5);
      const auto packed = Pack(*backend, w);
      ASSERT_TRUE(packed.ok()) << packed.status();
      UniformMatrix got = w;
      std::fill(got.codes.begin(), got.codes.end(), uint8_t{99});
      std::fill(got.zeros.begin(), got.zeros.end(), uint8_t{99});
      std::fill(got.scales.begin(), got.scales.end(), 0.0f);
      const UniformRows rows{{got.codes.data(), w.outputs, w.inputs},
                             {got.scales.data(), w.outputs, w.groups()},
                             {got.zeros.data(), w.outputs, w.groups()}};
      ReadPackedUniform(w.format, w.inputs, static_cast<const uint8_t*>(packed->data.data()), {0, w.outputs},
                        rows);
      EXPECT_EQ(got.codes, w.codes) << bits;
      EXPECT_EQ(got.zeros, w.zeros) << bits;
      EXPECT_EQ(got.scales, w.scales) << bits;
    }
  }
}

}  // namespace
}  // namespace ternion
