#include "tests/support/backends.h"

#include <algorithm>
#include <cmath>

#include "kernels/cpu/cpu_backend.h"

namespace ternion {
namespace {

std::vector<BackendCase> MakeBackends() {
  std::vector<BackendCase> backends;
  for (cpu::Isa isa : RunnableIsas()) {
    for (int threads : {1, 3}) {
      const std::string name = std::string(cpu::IsaName(isa)) + "_" + std::to_string(threads);
      backends.push_back({name, [=] { return std::make_unique<cpu::CpuBackend>(threads, isa); }, "cpu", 0});
    }
  }
  if (MakeCudaBackend(0).ok()) {
    backends.push_back({"cuda", [] { return MakeCudaBackend(0).value(); }, "cuda", 1e-5f, /*f32_kv=*/false});
  }
  return backends;
}

}  // namespace

void PrintTo(const BackendCase& backend, std::ostream* out) { *out << backend.name; }

std::string BackendName(const testing::TestParamInfo<BackendCase>& info) { return info.param.name; }

const std::vector<BackendCase>& Backends() {
  static const std::vector<BackendCase>* const backends = new std::vector<BackendCase>(MakeBackends());
  return *backends;
}

const BackendCase& FamilyReference(const BackendCase& backend) {
  return *std::find_if(Backends().begin(), Backends().end(),
                       [&](const BackendCase& other) { return other.family == backend.family; });
}

float BackendTest::SumOfSegments(const std::vector<float>& sums) const {
  const size_t lanes = GetParam().family == "cuda" ? 32 : 1;
  std::vector<float> of_lane(lanes);
  for (size_t s = 0; s < sums.size(); ++s) of_lane[s % lanes] += sums[s];
  return HalvingSum(of_lane);
}

std::vector<cpu::Isa> RunnableIsas() {
  std::vector<cpu::Isa> isas;
  for (cpu::Isa isa : {cpu::Isa::kPortable, cpu::Isa::kAvx2, cpu::Isa::kAvx512}) {
    if (isa <= cpu::DetectIsa()) isas.push_back(isa);
  }
  return isas;
}

std::vector<float> RandomFloats(int64_t n, uint32_t seed, float size) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, size);
  std::vector<float> values(n);
  for (float& value : values) value = normal(random);
  return values;
}

std::vector<BFloat16> RandomBf16(int64_t n, uint32_t seed) {
  std::vector<BFloat16> values;
  for (float value : RandomFloats(n, seed)) {
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof(bits));
    values.push_back({static_cast<uint16_t>(bits >> 16)});
  }
  return values;
}

float Widen(BFloat16 x) {
  const uint32_t bits = static_cast<uint32_t>(x.bits) << 16;
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

void ExpectClose(const std::vector<float>& got, const std::vector<float>& want, float tolerance) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i) {
    const float allowed = tolerance * std::max(1.0f, std::abs(want[i]));
    const bool same = std::memcmp(&got[i], &want[i], sizeof(float)) == 0;
    ASSERT_TRUE(same || (tolerance > 0 && std::abs(got[i] - want[i]) <= allowed))
        << "element " << i << ": " << got[i] << " where " << want[i] << " is right";
  }
}

float HalvingSum(std::vector<float> x) {
  for (size_t half = x.size() / 2; half > 0; half /= 2) {
    for (size_t i = 0; i < half; ++i) x[i] += x[i + half];
  }
  return x[0];
}

}  // namespace ternion
