#include "runtime/checkpoint/ggml_types.h"

#include "runtime/checkpoint/ggml_blocks.h"

namespace ternion {
namespace {

constexpr GgmlType kTypes[] = {
    {0, "F32", 1, 4, 0, nullptr, DecodeF32},
    {1, "F16", 1, 2, 0, nullptr, DecodeF16},
    {2, "Q4_0", 32, 18},
    {3, "Q4_1", 32, 20},
    {6, "Q5_0", 32, 22},
    {7, "Q5_1", 32, 24},
    {8, "Q8_0", 32, kQ8Bytes, 0, nullptr, DecodeQ8},
    {10, "Q2_K", 256, 84},
    {11, "Q3_K", 256, 110},
    {12, "Q4_K", 256, 144},
    {13, "Q5_K", 256, 176},
    {14, "Q6_K", 256, kQ6KBytes, 0, nullptr, DecodeQ6K},
    {16, "IQ2_XXS", 256, 66},
    {17, "IQ2_XS", 256, 74},
    {18, "IQ3_XXS", 256, 98},
    {19, "IQ1_S", 256, 50},
    {20, "IQ4_NL", 32, 18},
    {21, "IQ3_S", 256, 110},
    {22, "IQ2_S", 256, 82},
    {23, "IQ4_XS", 256, 136},
    {24, "I8", 1, 1},
    {25, "I16", 1, 2},
    {26, "I32", 1, 4},
    {27, "I64", 1, 8},
    {28, "F64", 1, 8},
    {29, "IQ1_M", 256, 56},
    {30, "BF16", 1, 2, 0, nullptr, DecodeBF16},
    {34, "TQ1_0", 256, kTq1Bytes, 0, DecodeTq1},
    {35, "TQ2_0", 256, kTq2Bytes, 0, DecodeTq2},
    {kGgmlI2S, "I2_S", 128, kI2SBytes, kI2STailBytes, DecodeI2S},
};

}  // namespace

const GgmlType* FindGgmlType(uint32_t number) {
  for (const GgmlType& type : kTypes) {
    if (type.number == number) return &type;
  }
  return nullptr;
}

}  // namespace ternion
