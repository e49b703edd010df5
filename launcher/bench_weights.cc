#include "launcher/bench_weights.h"

#include <algorithm>
#include <random>
#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "kernels/status.h"

namespace ternion {
namespace {

constexpr int64_t kGroup = 64;

// Random numbers of 16 bits, drawn once and taken from a random place on.
class Drawn {
 public:
  Drawn() : numbers_(kDrawn) {
    for (uint16_t& number : numbers_) number = static_cast<uint16_t>(random_() >> 8);
  }

  // to[i] = make(a random number).
  template <typename T, typename Make>
  void Fill(T* to, int64_t n, Make make) {
    const size_t first = random_() % kDrawn;
    for (int64_t i = 0; i < n; ++i) to[i] = make(numbers_[(first + static_cast<size_t>(i)) % kDrawn]);
  }

 private:
  static constexpr size_t kDrawn = 1 << 20;

  std::minstd_rand random_{1};
  std::vector<uint16_t> numbers_;
};

absl::StatusOr<PackedUniform> PackRandom(Backend& backend, int bits, int64_t outputs, int64_t inputs) {
  Drawn drawn;
  const auto code = [bits](uint16_t number) { return static_cast<uint8_t>(number % (1 << bits)); };
  return backend.PackUniform({bits, kGroup}, outputs, inputs, [&](Range, const UniformRows& rows) {
    drawn.Fill(rows.codes.data(), rows.codes.size(), code);
    drawn.Fill(rows.zeros.data(), rows.zeros.size(), code);
    std::fill_n(rows.scales.data(), rows.scales.size(), 0.0078125f);
  });
}

// The sign and the mantissa are random, the exponent is that of 1 / 64.
absl::StatusOr<DenseMatrix> FillRandom(Backend& backend, DenseType type, int64_t outputs, int64_t inputs) {
  DenseMatrix w{type, outputs, inputs, {}};
  TERNION_ASSIGN_OR_RETURN(w.data, backend.Allocate(static_cast<size_t>(outputs * inputs * 2)));
  Drawn drawn;
  const int exponent = type == DenseType::kBFloat16 ? 0x3c80 : 0x2400;
  const int others = type == DenseType::kBFloat16 ? 0x807f : 0x83ff;
  std::vector<uint16_t> bits(static_cast<size_t>(outputs * inputs));
  drawn.Fill(bits.data(), outputs * inputs,
             [&](uint16_t number) { return static_cast<uint16_t>(exponent | (number & others)); });
  backend.CopyFromHost(w.data.data(), bits.data(), w.data.bytes());
  backend.Synchronize();
  return w;
}

// Adds copies of the first matrix until all have `rotated_bytes` bytes.
template <typename Matrix>
absl::Status Copy(Backend& backend, int64_t rotated_bytes, std::vector<Matrix>& matrices) {
  const int64_t bytes = static_cast<int64_t>(matrices.front().data.bytes());
  for (int64_t done = bytes; done < rotated_bytes; done += bytes) {
    const Buffer& from = matrices.front().data;
    TERNION_ASSIGN_OR_RETURN(Buffer to, backend.Allocate(from.bytes()));
    backend.Copy(to.data(), from.data(), from.bytes());
    Matrix copy{};
    if constexpr (std::is_same_v<Matrix, PackedUniform>) {
      copy.format = matrices.front().format;
    } else {
      copy.type = matrices.front().type;
    }
    copy.outputs = matrices.front().outputs;
    copy.inputs = matrices.front().inputs;
    copy.data = std::move(to);
    matrices.push_back(std::move(copy));
  }
  backend.Synchronize();  // kernels fetch weights before they wait for what is before them
  return absl::OkStatus();
}

}  // namespace

const std::vector<std::string>& BenchWeightNames() {
  static const std::vector<std::string> names = {"int2", "int3", "int4", "bf16", "f16"};
  return names;
}

absl::StatusOr<BenchWeights> BenchWeights::Make(Backend& backend, const std::string& name, int64_t outputs,
                                                int64_t inputs, int64_t rotated_bytes) {
  const bool uniform = name.rfind("int", 0) == 0;
  const int64_t unit = uniform ? kShortSegment : 16;
  if (inputs % unit != 0) {
    return absl::InvalidArgumentError(absl::StrCat("--weights ", name, " with ", outputs, "x", inputs,
                                                   ": the inputs must be a multiple of ", unit));
  }
  BenchWeights weights;
  if (uniform) {
    TERNION_ASSIGN_OR_RETURN(PackedUniform w, PackRandom(backend, name[3] - '0', outputs, inputs));
    weights.bytes_ = static_cast<int64_t>(w.data.bytes());
    weights.uniform_.push_back(std::move(w));
    TERNION_RETURN_IF_ERROR(Copy(backend, rotated_bytes, weights.uniform_));
    return weights;
  }
  const DenseType type = name == "bf16" ? DenseType::kBFloat16 : DenseType::kFloat16;
  TERNION_ASSIGN_OR_RETURN(DenseMatrix w, FillRandom(backend, type, outputs, inputs));
  weights.bytes_ = static_cast<int64_t>(w.data.bytes());
  weights.dense_.push_back(std::move(w));
  TERNION_RETURN_IF_ERROR(Copy(backend, rotated_bytes, weights.dense_));
  return weights;
}

void BenchWeights::Multiply(Backend& backend, int64_t i, TensorView<const float> x,
                            TensorView<float> y) const {
  const size_t copy = static_cast<size_t>(i % copies());
  if (!uniform_.empty()) return backend.UniformLinear(uniform_[copy], x, {}, false, y);
  backend.DenseLinear(dense_[copy], x, {}, false, y);
}

}  // namespace ternion
