#include "runtime/checkpoint/packed_rows.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "kernels/cpu/ternary_layout.h"

namespace ternion {
namespace {

using cpu::kLineBytes;
using cpu::kLineCodes;

constexpr int kTrits = 5;        // of a byte
constexpr int kFiveTrits = 243;  // 3^5
constexpr uint8_t kNoTrit = 3;
constexpr int64_t kTileInputs = 64;  // whose lines stay in L1 while they are turned

using Digits = std::array<uint8_t, kTrits>;

std::array<Digits, 256> MakeDigits() {
  std::array<Digits, 256> table;
  for (int byte = 0; byte < 256; ++byte) {
    for (int i = 0, rest = byte; i < kTrits; ++i, rest /= 3) {
      table[byte][i] = byte < kFiveTrits ? static_cast<uint8_t>(rest % 3) : kNoTrit;
    }
  }
  return table;
}

}  // namespace

PackedRows::PackedRows(TernaryLayout layout, int64_t inputs, const uint8_t* data)
    : layout_(layout), inputs_(inputs), data_(data) {
  if (layout == TernaryLayout::kByInput) codes_.resize(static_cast<size_t>(kLineCodes * inputs));
}

void PackedRows::Read(int64_t output, absl::Span<uint8_t> codes) {
  if (layout_ == TernaryLayout::kByOutput) return ReadRow(output, codes);
  if (output / kLineCodes != strip_) UnpackStrip(output / kLineCodes);
  std::copy_n(codes_.begin() + output % kLineCodes * inputs_, inputs_, codes.begin());
}

void PackedRows::ReadRow(int64_t output, absl::Span<uint8_t> codes) const {
  const int64_t groups = cpu::RowGroups(inputs_);
  for (int64_t g = 0; g < groups; ++g) {
    const uint8_t* line = data_ + (output * groups + g) * kLineBytes;
    uint8_t* out = codes.data() + g * kLineCodes;
    const int64_t left = std::min(kLineCodes, inputs_ - g * kLineCodes);
    for (int64_t at = 0; at < left; at += kLineBytes) {
      const int shift = static_cast<int>(at / kLineBytes) * 2;
      const int64_t n = std::min(kLineBytes, left - at);
      for (int64_t j = 0; j < n; ++j) out[at + j] = (line[j] >> shift) & 3;
    }
  }
}

void PackedRows::UnpackStrip(int64_t strip) {
  const uint8_t* lines = data_ + strip * inputs_ * kLineBytes;
  const int64_t step = cpu::ScatterStep(inputs_);
  uint8_t tile[kLineBytes][kTileInputs];  // the lines' bytes, turned
  for (int64_t begin = 0; begin < inputs_; begin += kTileInputs) {
    const int64_t n = std::min(kTileInputs, inputs_ - begin);
    for (int64_t k = 0; k < n; ++k) {
      const uint8_t* line = lines + (begin + k) * step % inputs_ * kLineBytes;
      for (int64_t j = 0; j < kLineBytes; ++j) tile[j][k] = line[j];
    }
    for (int64_t o = 0; o < kLineCodes; ++o) {
      const uint8_t* bytes = tile[o % kLineBytes];
      const int shift = static_cast<int>(o / kLineBytes) * 2;
      uint8_t* out = codes_.data() + o * inputs_ + begin;
      for (int64_t k = 0; k < n; ++k) out[k] = (bytes[k] >> shift) & 3;
    }
  }
  strip_ = strip;
}

// Eight codes are read at once, and the first five become the product's highest byte: code i, which is byte i, meets 3^i in
// byte 7 - i of the factor. No sum of a lower byte is over 240, so none carries; the codes after the five fall out.
void PackFiveTrits(absl::Span<const uint8_t> codes, uint8_t* bytes) {
  constexpr uint64_t kPowers = 0x01'03'09'1b'51'00'00'00;
  size_t at = 0;
  for (; at + sizeof(uint64_t) <= codes.size(); at += kTrits) {
    uint64_t eight;
    std::memcpy(&eight, codes.data() + at, sizeof(eight));
    *bytes++ = static_cast<uint8_t>(eight * kPowers >> 56);
  }
  for (; at < codes.size(); at += kTrits) {
    int value = 0;
    for (size_t i = std::min(at + kTrits, codes.size()); i > at; --i) value = value * 3 + codes[i - 1];
    *bytes++ = static_cast<uint8_t>(value);
  }
}

void UnpackFiveTrits(const uint8_t* bytes, absl::Span<uint8_t> codes) {
  static const std::array<Digits, 256> table = MakeDigits();
  for (size_t at = 0; at < codes.size(); at += kTrits) {
    const Digits& digits = table[*bytes++];
    std::copy_n(digits.begin(), std::min<size_t>(kTrits, codes.size() - at), codes.begin() + at);
  }
}

}  // namespace ternion
