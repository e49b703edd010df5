// GPTQ and EfficientQAT folders: what the config says of bits and groups, and the four tensors of a matrix.
#include "tests/runtime/checkpoint/broken_model.h"

namespace ternion {
namespace {

using nlohmann::json;

constexpr char kW2[] = "gptq_v2_w2g64";
constexpr char kW3[] = "gptq_v2_w3g128";
constexpr char kTens[] = "gptq_v2_w3g128_tens";
constexpr char kW4[] = "gptq_v2_w4g128";
constexpr char kQwen2[] = "gptq_w4g128_qwen2";
constexpr char kBare[] = "efficientqat_w2g64";

BrokenCase Field(const char* name, const char* field, json value) {
  return {name, kW2, Config(std::string("quantization_config.") + field, std::move(value)), {field}};
}
BrokenCase Absent(const char* name, const char* field) {
  return {name, kW2, ConfigWithout(std::string("quantization_config.") + field), {field}};
}
BrokenCase Shape(const char* name, const char* base, const char* tensor, const char* dtype,
                 std::vector<int64_t> shape) {
  return {name, base, Form(tensor, dtype, std::move(shape)), {tensor}};
}
BrokenCase Missing(const char* name, const char* base, const char* tensor) {
  return {name, base, Without(tensor), {tensor}};
}
BrokenCase Group(const char* name, int64_t group) {
  return {name, kW2, Config("quantization_config.group_size", group), {}};
}

std::string Word(int32_t value) { return BytesOf(std::vector<int32_t>{value}); }
const std::string kHalfNan("\x00\x7e", 2);
const std::string kHalfInfinity("\x00\x7c", 2);

void ReverseIndices(BrokenModel& model) {
  TestTensor& index = model.Tensor("mlp.up_proj.g_idx");
  std::vector<int32_t> groups(128);
  for (int32_t i = 0; i < 128; ++i) groups[static_cast<size_t>(i)] = (127 - i) / 64;
  index.bytes = BytesOf(groups);
}

}  // namespace

const std::vector<BrokenCase> kBrokenGptq = {
    Field("BitsFive", "bits", 5),
    Field("BitsZero", "bits", 0),
    Field("BitsOne", "bits", 1),
    Field("BitsNegative", "bits", -2),
    Field("Bits64", "bits", 64),
    Field("BitsBeyond", "bits", int64_t{1} << 40),
    Field("BitsFloat", "bits", 2.5),
    Field("BitsText", "bits", "2"),
    Field("BitsNull", "bits", nullptr),
    Absent("BitsAbsent", "bits"),
    {"BitsOfAnother", kW2, Config("quantization_config.bits", 4), {"proj"}},
    {"BitsThreeOfTwo", kW2, Config("quantization_config.bits", 3), {"proj"}},
    Field("GroupZero", "group_size", 0),
    Field("GroupNegative", "group_size", -64),
    Field("GroupText", "group_size", "64"),
    Field("GroupFloat", "group_size", 64.5),
    Field("GroupBeyond", "group_size", int64_t{1} << 62),
    Absent("GroupAbsent", "group_size"),
    Group("GroupOne", 1),
    Group("GroupDoesNotDivide", 48),
    Group("GroupOverTheMatrix", 4096),
    Group("GroupOfAnother", 128),
    Group("GroupHalf", 32),
    Field("FormatUnknown", "checkpoint_format", "gptq_v3"),
    Field("FormatMarlin", "checkpoint_format", "marlin"),
    Field("FormatNumber", "checkpoint_format", 2),
    Field("DescActText", "desc_act", "false"),
    {"MethodUnknown", kW2, Config("quantization_config.quant_method", "gptq2"), {"quant_method"}},

    Missing("WeightAbsent", kW2, "self_attn.q_proj.qweight"),
    Missing("ZerosAbsent", kW2, "mlp.down_proj.qzeros"),
    Missing("ScalesAbsent", kW2, "mlp.gate_proj.scales"),
    Shape("WeightFloat", kW2, "mlp.up_proj.qweight", "F32", {8, 256}),
    Shape("WeightI64", kW2, "mlp.up_proj.qweight", "I64", {8, 256}),
    Shape("WeightBytes", kW2, "mlp.up_proj.qweight", "U8", {32, 256}),
    Shape("WeightTransposed", kW2, "mlp.up_proj.qweight", "I32", {256, 8}),
    Shape("WeightOneRowLess", kW2, "mlp.up_proj.qweight", "I32", {7, 256}),
    Shape("WeightOneRowMore", kW2, "mlp.up_proj.qweight", "I32", {9, 256}),
    Shape("WeightOneColumnLess", kW2, "mlp.up_proj.qweight", "I32", {8, 255}),
    Shape("WeightFlat", kW2, "mlp.up_proj.qweight", "I32", {8 * 256}),
    Shape("WeightEmpty", kW2, "mlp.up_proj.qweight", "I32", {0, 256}),
    Shape("ThreeBitsOfNeitherForm", kW3, "mlp.up_proj.qweight", "I32", {14, 256}),
    Shape("ThreeBitsByTwos", kW3, "mlp.up_proj.qweight", "I32", {8, 256}),
    Shape("ThreeBitsZerosOfTheOtherForm", kW3, "mlp.up_proj.qzeros", "I32", {1, 26}),
    Shape("TensZerosOfTheOtherForm", kTens, "mlp.up_proj.qzeros", "I32", {1, 24}),
    Shape("TensOneRowLess", kTens, "mlp.down_proj.qweight", "I32", {25, 128}),
    Shape("FourBitsByTwos", kW4, "mlp.up_proj.qweight", "I32", {8, 256}),
    Shape("ZerosTransposed", kW2, "mlp.up_proj.qzeros", "I32", {16, 2}),
    Shape("ZerosOneRow", kW2, "mlp.up_proj.qzeros", "I32", {1, 16}),
    Shape("ZerosOneColumnLess", kW2, "mlp.up_proj.qzeros", "I32", {2, 15}),
    Shape("ZerosFloat", kW2, "mlp.up_proj.qzeros", "F16", {2, 256}),
    Shape("ScalesTransposed", kW2, "mlp.up_proj.scales", "F16", {256, 2}),
    Shape("ScalesOneGroupLess", kW2, "mlp.up_proj.scales", "F16", {1, 256}),
    Shape("ScalesOneColumnLess", kW2, "mlp.up_proj.scales", "F16", {2, 255}),
    Shape("ScalesInteger", kW2, "mlp.up_proj.scales", "I32", {2, 256}),
    Shape("ScalesFlat", kW2, "mlp.up_proj.scales", "F16", {512}),
    {"ScaleNan", kW2, Bytes("mlp.up_proj.scales", -2, kHalfNan), {"mlp.up_proj.scales"}},
    {"ScaleInfinite", kW4, Bytes("mlp.up_proj.scales", 0, kHalfInfinity), {"mlp.up_proj.scales"}},
    {"ScalesZero", kW2, Fill("mlp.up_proj.scales", '\0'), {"mlp.up_proj"}},
    {"IndexReversed", kW2, ReverseIndices, {"mlp.up_proj.g_idx"}},
    {"IndexOneAstray", kW2, Bytes("mlp.up_proj.g_idx", 63 * 4, Word(1)), {"mlp.up_proj.g_idx"}},
    {"IndexBeyond", kW2, Bytes("mlp.up_proj.g_idx", -4, Word(2)), {"mlp.up_proj.g_idx"}},
    {"IndexHuge", kW2, Bytes("mlp.up_proj.g_idx", 0, Word(INT32_MAX)), {"mlp.up_proj.g_idx"}},
    {"IndexNegative", kW2, Bytes("mlp.up_proj.g_idx", 0, Word(-1)), {"mlp.up_proj.g_idx"}},
    Shape("IndexShort", kW2, "mlp.up_proj.g_idx", "I32", {127}),
    Shape("IndexFloat", kW2, "mlp.up_proj.g_idx", "F32", {128}),
    Missing("BiasAbsent", kQwen2, "self_attn.q_proj.bias"),
    Shape("BiasShort", kQwen2, "self_attn.k_proj.bias", "F16", {63}),
    {"BiasNan", kQwen2, Bytes("self_attn.v_proj.bias", 0, kHalfNan), {"self_attn.v_proj.bias"}},
    Shape("BareOfNoBits", kBare, "self_attn.q_proj.qweight", "I32", {5, 128}),
    Shape("BareGroupsOfNothing", kBare, "self_attn.q_proj.scales", "F16", {3, 128}),
    {"BareMissing",
     kBare,
     [](BrokenModel& model) {
       for (const char* layer : {"model.layers.0.", "model.layers.1."}) {
         model.tensors.erase(std::string(layer) + "self_attn.q_proj.qweight");
       }
     },
     {"q_proj"}},
};

}  // namespace ternion
