#include "kernels/cpu/isa.h"

#include <cstdlib>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "kernels/check.h"
#include "kernels/cpu/check_isa.h"

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

Isa BestIsa() {
  if (Runs(Isa::kAvx512)) return Isa::kAvx512;
  return Runs(Isa::kAvx2) ? Isa::kAvx2 : Isa::kPortable;
}

absl::StatusOr<Isa> AskedIsa() {
  const char* const asked = std::getenv("TERNION_ISA");
  if (asked == nullptr) return BestIsa();
  for (Isa isa : {Isa::kPortable, Isa::kAvx2, Isa::kAvx512}) {
    if (IsaName(isa) != asked) continue;
    if (Runs(isa)) return isa;
    return absl::InvalidArgumentError(
        absl::StrCat("TERNION_ISA=", asked, ": this machine does not have these instructions; it runs ",
                     std::string(IsaName(BestIsa()))));
  }
  return absl::InvalidArgumentError(
      absl::StrCat("TERNION_ISA=", asked, " is unknown; it may be portable, avx2 or avx512"));
}

}  // namespace

Isa DetectIsa() {
  const absl::StatusOr<Isa> isa = AskedIsa();
  CHECK(isa.ok(), std::string(isa.status().message()));
  return *isa;
}

absl::Status CheckIsa() { return AskedIsa().status(); }

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
