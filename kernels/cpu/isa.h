#pragma once

#include <string_view>

namespace ternion::cpu {

// The instruction sets that cpu/simd/ is compiled for. kAvx512 asks for F, BW, VL, DQ and VNNI; kAvx2 for F16C too.
enum class Isa { kPortable, kAvx2, kAvx512 };

// The best this machine runs, or what the environment variable TERNION_ISA (portable, avx2, avx512) asks for; a
// value that the machine cannot run fails a CHECK.
Isa DetectIsa();

std::string_view IsaName(Isa isa);

}  // namespace ternion::cpu
