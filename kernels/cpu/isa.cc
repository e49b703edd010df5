#include "kernels/cpu/isa.h"

#include <cstdlib>

#include "kernels/check.h"

namespace ternion::cpu {
namespace {

bool Runs(Isa isa) {
  switch (isa) {
    case Isa::kAvx512:
      return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
             __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
             __builtin_cpu_supports("avx512vnni");
    case Isa::kAvx2:
      return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2") &&
             __builtin_cpu_supports("f16c");
    case Isa::kPortable:
      return true;
  }
  return false;
}

}  // namespace

Isa DetectIsa() {
  const char* asked = std::getenv("TERNION_ISA");
  for (Isa isa : {Isa::kAvx512, Isa::kAvx2, Isa::kPortable}) {
    if (asked == nullptr ? Runs(isa) : IsaName(isa) == asked) {
      CHECK(Runs(isa), "TERNION_ISA asks for instructions that this machine does not have");
      return isa;
    }
  }
  CHECK(false, "TERNION_ISA must be portable, avx2 or avx512");
}

std::string_view IsaName(Isa isa) {
  switch (isa) {
    case Isa::kPortable:
      return "portable";
    case Isa::kAvx2:
      return "avx2";
    case Isa::kAvx512:
      return "avx512";
  }
  return "unknown";
}

}  // namespace ternion::cpu
