#pragma once

#include <algorithm>
#include <cstdint>
#include <random>
#include <vector>

#include "absl/types/span.h"
#include "gtest/gtest.h"
#include "tests/support/backends.h"

namespace ternion {

// W [outputs, inputs] of trits, unpacked.
struct Trits {
  int64_t outputs;
  int64_t inputs;
  std::vector<int8_t> values;

  int8_t at(int64_t o, int64_t i) const { return values[static_cast<size_t>(o * inputs + i)]; }
};

inline Trits RandomTrits(int64_t outputs, int64_t inputs, std::mt19937& random) {
  Trits w{outputs, inputs, std::vector<int8_t>(static_cast<size_t>(outputs * inputs))};
  for (int8_t& v : w.values) v = static_cast<int8_t>(static_cast<int>(random() % 3) - 1);
  return w;
}

// Codes [tokens, inputs] in [low, high], zero except for a share of `density`.
inline std::vector<int8_t> RandomCodes(int64_t size, int low, int high, double density,
                                       std::mt19937& random) {
  std::vector<int8_t> codes(static_cast<size_t>(size));
  for (int8_t& c : codes) {
    const int value = low + static_cast<int>(random() % static_cast<unsigned>(high - low + 1));
    c = static_cast<int8_t>(std::uniform_real_distribution<>(0, 1)(random) < density ? value : 0);
  }
  return codes;
}

inline std::vector<float> RandomScales(int64_t n, std::mt19937& random) {
  std::vector<float> scales(static_cast<size_t>(n));
  for (float& s : scales) s = std::uniform_real_distribution<float>(1e-3f, 2e-2f)(random);
  return scales;
}

inline PackedTernary Pack(Backend& backend, TernaryLayout layout, const Trits& w) {
  auto packed =
      backend.PackTernary(layout, w.outputs, w.inputs, [&](int64_t output, absl::Span<uint8_t> codes) {
        for (int64_t i = 0; i < w.inputs; ++i)
          codes[static_cast<size_t>(i)] = static_cast<uint8_t>(w.at(output, i) + 1);
      });
  EXPECT_TRUE(packed.ok()) << packed.status();
  return *std::move(packed);
}

// The reference: codes . W^T, [tokens, outputs].
inline std::vector<int32_t> MultiplyPlainly(const Trits& w, const std::vector<int8_t>& codes,
                                            int64_t tokens) {
  std::vector<int32_t> out(static_cast<size_t>(tokens * w.outputs));
  for (int64_t t = 0; t < tokens; ++t) {
    const int8_t* row = codes.data() + t * w.inputs;
    for (int64_t o = 0; o < w.outputs; ++o) {
      const int8_t* trits = w.values.data() + o * w.inputs;
      int32_t sum = 0;
      for (int64_t i = 0; i < w.inputs; ++i) sum += row[i] * trits[i];
      out[static_cast<size_t>(t * w.outputs + o)] = sum;
    }
  }
  return out;
}

}  // namespace ternion
