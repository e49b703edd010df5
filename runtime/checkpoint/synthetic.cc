// Random weights as a function of the tensor's name, the row and the column: a hash of the position, no
// state. One 64-bit hash gives 32 trits (its digits to the base 3) or four table values; trits are read
// eight at a time from a table, so a thread makes some 10^10 a second and packing takes longer.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "kernels/status.h"
#include "runtime/checkpoint/digest.h"
#include "runtime/checkpoint/floats.h"
#include "runtime/checkpoint/stage_loader.h"
#include "runtime/model/weights.h"

namespace ternion {
namespace {

constexpr int64_t kTritsPerHash = 32;
constexpr int64_t kValuesPerHash = 4;

// The finalizer of SplitMix64 (Steele, Lea and Flood, 2014).
uint64_t Mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

uint64_t KeyOf(const std::string& name) {
  uint64_t key = 0;
  for (const char c : name) key = Mix(key + static_cast<unsigned char>(c) + 0x9e3779b97f4a7c15u);
  return key;
}

uint64_t HashAt(uint64_t row_key, int64_t group) {
  return Mix(row_key + static_cast<uint64_t>(group) * 0x9e3779b97f4a7c15u);
}
uint64_t RowKey(uint64_t key, int64_t row) {
  return Mix(key ^ (static_cast<uint64_t>(row) * 0xd1b54a32d192ed03u));
}

constexpr int64_t kDigits = 8;
constexpr uint64_t kNumbers = 6561;  // 3^8

// The base 3 digits of each number below 3^8, the highest first.
using DigitTable = std::array<std::array<uint8_t, kDigits>, kNumbers>;
constexpr DigitTable MakeDigits() {
  DigitTable table = {};
  for (uint64_t number = 0; number < kNumbers; ++number) {
    for (uint64_t i = kDigits, rest = number; i > 0; rest /= 3) table[number][--i] = rest % 3;
  }
  return table;
}
constexpr DigitTable kDigitsOf = MakeDigits();

// 62 bits of the hash as a fraction; each product with 3^8 pushes eight digits, uniform over 0, 1, 2, out at the top.
void TritCodes(uint64_t hash, uint8_t* codes) {
  uint64_t fraction = hash << 2;
  for (int64_t i = 0; i < kTritsPerHash; i += kDigits) {
    const auto product = static_cast<unsigned __int128>(fraction) * kNumbers;
    std::memcpy(codes + i, kDigitsOf[static_cast<uint64_t>(product >> 64)].data(), kDigits);
    fraction = static_cast<uint64_t>(product);
  }
}

class SyntheticReader final : public TernaryReader {
 public:
  SyntheticReader(std::string name, int64_t inputs)
      : name_(std::move(name)), key_(KeyOf(name_)), inputs_(inputs) {}

  // Two thirds of the trits are not zero, so a normed input gives outputs of variance one.
  float scale() const override { return 1.0f / std::sqrt(static_cast<float>(inputs_) * 2 / 3); }

  void Read(int64_t output, Range inputs, absl::Span<uint8_t> codes) override {
    const uint64_t row_key = RowKey(key_, output);
    uint8_t* out = codes.data();
    for (int64_t at = inputs.begin; at < inputs.end;) {
      const int64_t group = at / kTritsPerHash;
      const int64_t end = std::min((group + 1) * kTritsPerHash, inputs.end);
      if (end - at == kTritsPerHash) {
        TritCodes(HashAt(row_key, group), out);
      } else {
        uint8_t whole[kTritsPerHash];
        TritCodes(HashAt(row_key, group), whole);
        std::copy_n(whole + at % kTritsPerHash, end - at, out);
      }
      out += end - at;
      at = end;
    }
  }

  std::string Where() const override { return absl::StrCat("synthetic tensor ", name_, ".weight"); }

 private:
  const std::string name_;
  const uint64_t key_;
  const int64_t inputs_;
};

// Codes are uniform; zero points lie in the middle, so that weights have about a mean of zero, and scales give a normed input
// outputs of about variance one.
class SyntheticUniform final : public UniformMatrix {
 public:
  SyntheticUniform(std::string name, int64_t inputs, const UniformFormat& format)
      : name_(std::move(name)), key_(KeyOf(name_)), bits_(format.bits) {
    const auto levels = static_cast<float>(1 << bits_);
    scale_ = 1.0f / std::sqrt(static_cast<float>(inputs) * (levels * levels - 1) / 12);
    // Exact in 16 bits.
    if (format.scale == ScaleType::kFloat16) scale_ = std::ldexp(1.0f, std::ilogb(scale_));
  }

  void Read(Range outputs, Range inputs, int64_t, const UniformRows& rows) override {
    for (int64_t o = 0; o < outputs.size(); ++o) {
      FillCodes(RowKey(key_, outputs.begin + o), inputs, rows.codes.row(o));
      std::fill_n(rows.scales.row(o), rows.scales.cols(), scale_);
      std::fill_n(rows.zeros.row(o), rows.zeros.cols(), static_cast<uint8_t>(1 << (bits_ - 1)));
    }
  }
  absl::Status fault() const override { return absl::OkStatus(); }
  std::string Where() const override { return absl::StrCat("synthetic tensor ", name_, ".qweight"); }

 private:
  static constexpr int64_t kCodesPerHash = 16;

  void FillCodes(uint64_t row_key, Range inputs, uint8_t* codes) const {
    uint64_t hash = 0;
    for (int64_t i = inputs.begin; i < inputs.end; ++i) {
      if (i == inputs.begin || i % kCodesPerHash == 0) {
        hash = HashAt(row_key, i / kCodesPerHash) >> (4 * (i % kCodesPerHash));
      }
      *codes++ = static_cast<uint8_t>(hash & ((1u << bits_) - 1));
      hash >>= 4;
    }
  }

  const std::string name_;
  const uint64_t key_;
  const int bits_;
  float scale_;
};

class SyntheticTensors final : public ModelTensors {
 public:
  explicit SyntheticTensors(const ModelConfig& config) : config_(config) {}

  absl::StatusOr<std::unique_ptr<TernaryReader>> Ternary(const std::string& name, int64_t,
                                                         int64_t inputs) override {
    return std::make_unique<SyntheticReader>(name, inputs);
  }

  absl::StatusOr<std::unique_ptr<UniformMatrix>> Uniform(const std::string& name, int64_t,
                                                         int64_t inputs) override {
    return std::make_unique<SyntheticUniform>(name, inputs, config_.uniform);
  }

  // Uniform: a normed input gives outputs of about variance one.
  absl::Status Dense(const std::string& name, int64_t, int64_t inputs, Range rows, Range columns,
                     absl::Span<uint16_t> out) override {
    const uint64_t key = KeyOf(name);
    const float step = std::sqrt(3.0f / static_cast<float>(inputs)) / 32768.0f;
    std::vector<BFloat16> values(static_cast<size_t>(columns.size()));
    auto to = out.begin();
    for (int64_t row = rows.begin; row < rows.end; ++row) {
      FillRow(RowKey(key, row), columns, step, values.data());
      to = std::transform(values.begin(), values.end(), to, [](BFloat16 value) { return value.bits; });
    }
    return absl::OkStatus();
  }

  absl::Status Bias(const std::string&, int64_t, Range, absl::Span<float> out) override {
    std::fill(out.begin(), out.end(), 0.0f);
    return absl::OkStatus();
  }

  absl::Status Vector(const std::string&, int64_t, Range, absl::Span<float> out) override {
    std::fill(out.begin(), out.end(), 1.0f);
    return absl::OkStatus();
  }

  // Uniform in +-6 / sqrt(cols): logits of a normed state then spread by about 3.5.
  absl::Status Table(const std::string& name, int64_t, int64_t cols, Range part,
                     absl::Span<BFloat16> out) override {
    const uint64_t key = KeyOf(name);
    const float step = 6.0f / std::sqrt(static_cast<float>(cols)) / 32768.0f;
    for (int64_t row = part.begin; row < part.end; ++row) {
      FillRow(RowKey(key, row), {0, cols}, step, out.data() + (row - part.begin) * cols);
    }
    return absl::OkStatus();
  }

 private:
  // Columns of a row: integers in [-2^15, 2^15) times the step. Hashes and products take turns by blocks, so that the
  // products are vectors.                                                                      out [columns.size()]
  static void FillRow(uint64_t row_key, Range columns, float step, BFloat16* out) {
    constexpr int64_t kHashes = 64;
    std::array<int16_t, kHashes * kValuesPerHash> integers;
    for (int64_t at = columns.begin; at < columns.end;) {
      const int64_t first = at / kValuesPerHash;
      const int64_t end = std::min((first + kHashes) * kValuesPerHash, columns.end);
      for (int64_t i = 0; i < kHashes; ++i) {
        const uint64_t hash = HashAt(row_key, first + i);
        std::memcpy(integers.data() + i * kValuesPerHash, &hash, sizeof(hash));
      }
      const int16_t* from = integers.data() + at % kValuesPerHash;
      for (int64_t i = 0; i < end - at; ++i) {
        out[i] = RoundToBFloat16(static_cast<float>(from[i]) * step);
      }
      out += end - at;
      at = end;
    }
  }

  const ModelConfig& config_;
};

class SyntheticModel final : public WeightSource {
 public:
  explicit SyntheticModel(ModelConfig config) : config_(std::move(config)) {}

  const ModelConfig& config() const override { return config_; }
  absl::StatusOr<StageWeights> LoadParts(const ProcessGrid& grid, Backend& backend, LoadProgress progress,
                                         PartTaker taker) override {
    SyntheticTensors tensors(config_);
    return LoadStage(tensors, config_, grid, backend, progress, taker);
  }
  std::string Digest() const override { return HexDigest(absl::StrCat("synthetic 1\n", config_.text)); }

 private:
  const ModelConfig config_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<WeightSource>> OpenSynthetic(const std::filesystem::path& config_file) {
  TERNION_ASSIGN_OR_RETURN(ModelConfig config, ReadModelConfig(config_file));
  return std::make_unique<SyntheticModel>(std::move(config));
}

}  // namespace ternion
