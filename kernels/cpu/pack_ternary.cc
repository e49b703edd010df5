#include <algorithm>
#include <cstring>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "kernels/cpu/cpu_backend.h"
#include "kernels/cpu/scratch.h"
#include "kernels/cpu/ternary_layout.h"
#include "kernels/status.h"

namespace ternion::cpu {
namespace {

// Beyond this many inputs the sum of code * activation leaves 32 bits.
constexpr int64_t kMaxInputs = int64_t{1} << 23;
// Inputs that one task packs of a strip, whose packed bytes [64 positions, kTileInputs] stay in L1.
constexpr int64_t kTileInputs = 128;
constexpr uint8_t kZeroTrit = 1;

absl::Status CheckCodes(int64_t output, absl::Span<const uint8_t> codes) {
  uint8_t largest = 0;
  for (uint8_t code : codes) largest = std::max(largest, code);
  if (largest <= 2) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("the ternary weights of output ", output, " hold the code ",
                                                 static_cast<int>(largest),
                                                 "; codes are 0, 1 and 2 (trit + 1)"));
}

// The packed row of one output.                                codes [groups * 256], row [groups, 64]
void PackRow(const uint8_t* codes, int64_t groups, uint8_t* row) {
  for (int64_t g = 0; g < groups; ++g) {
    const uint8_t* in = codes + g * kLineCodes;
    for (int j = 0; j < kLineBytes; ++j) {
      row[g * kLineBytes + j] =
          static_cast<uint8_t>(in[j] | in[64 + j] << 2 | in[128 + j] << 4 | in[192 + j] << 6);
    }
  }
}

// The lines of inputs [begin, end) of a strip.                 codes [256, inputs], strip [inputs, 64]
void PackLines(const uint8_t* codes, int64_t inputs, int64_t begin, int64_t end, uint8_t* strip) {
  uint8_t tile[kLineBytes][kTileInputs];
  for (int64_t j = 0; j < kLineBytes; ++j) {
    const uint8_t* in = codes + j * inputs + begin;
    for (int64_t k = 0; k < end - begin; ++k) {
      tile[j][k] = static_cast<uint8_t>(in[k] | in[k + 64 * inputs] << 2 | in[k + 128 * inputs] << 4 |
                                        in[k + 192 * inputs] << 6);
    }
  }
  const int64_t step = ScatterStep(inputs);
  for (int64_t k = begin; k < end; ++k) {
    uint8_t* line = strip + k * step % inputs * kLineBytes;
    for (int64_t j = 0; j < kLineBytes; ++j) line[j] = tile[j][k - begin];
  }
}

// Reads outputs [begin, end) into codes [256, stride], whose rest becomes trits of zero.
absl::Status ReadCodes(TritReader reader, int64_t begin, int64_t end, int64_t inputs, int64_t stride,
                       uint8_t* codes) {
  std::memset(codes, kZeroTrit, static_cast<size_t>(kLineCodes * stride));
  for (int64_t o = begin; o < end; ++o) {
    const absl::Span<uint8_t> row(codes + (o - begin) * stride, static_cast<size_t>(inputs));
    reader(o, row);
    TERNION_RETURN_IF_ERROR(CheckCodes(o, row));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<PackedTernary> CpuBackend::PackTernary(TernaryLayout layout, int64_t outputs, int64_t inputs,
                                                      TritReader reader) {
  CHECK(outputs > 0 && inputs > 0 && inputs <= kMaxInputs,
        "a ternary matrix has 1 to 2^23 inputs and an output");
  PackedTernary packed{layout, outputs, inputs, {}};
  TERNION_ASSIGN_OR_RETURN(packed.data, Allocate(static_cast<size_t>(PackedBytes(layout, outputs, inputs))));
  const bool by_output = layout == TernaryLayout::kByOutput;
  const int64_t groups = RowGroups(inputs);
  const int64_t stride = by_output ? groups * kLineCodes : inputs;
  Scratch<uint8_t> codes(kLineCodes * stride);  // [256, stride]
  uint8_t* to = static_cast<uint8_t*>(packed.data.data());
  for (int64_t begin = 0; begin < outputs; begin += kLineCodes) {
    const int64_t end = std::min(begin + kLineCodes, outputs);
    TERNION_RETURN_IF_ERROR(ReadCodes(reader, begin, end, inputs, stride, codes.data()));
    if (by_output) {
      pool_.ForEach(end - begin, [&](int64_t r) {
        PackRow(codes.data() + r * stride, groups, to + (begin + r) * groups * kLineBytes);
      });
    } else {
      uint8_t* strip = to + begin / kLineCodes * inputs * kLineBytes;
      pool_.ForEach(CeilDivide(inputs, kTileInputs), [&](int64_t task) {
        const int64_t k = task * kTileInputs;
        PackLines(codes.data(), inputs, k, std::min(k + kTileInputs, inputs), strip);
      });
    }
  }
  return packed;
}

}  // namespace ternion::cpu
