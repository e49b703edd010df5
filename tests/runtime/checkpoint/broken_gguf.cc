#include "tests/runtime/checkpoint/broken_gguf.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "kernels/check.h"

namespace ternion {
namespace {

using Breaking = std::function<void(GgufTestFile&)>;

constexpr size_t kTq2Bytes = 66, kTq1Bytes = 54;  // of a block, the scale last

Breaking Without(const std::string& name) {
  return [=](GgufTestFile& file) {
    const auto end = std::remove_if(file.tensors.begin(), file.tensors.end(),
                                    [&](const GgufTestTensor& tensor) { return tensor.name == name; });
    CHECK(end != file.tensors.end(), "the sound file has no such tensor");
    file.tensors.erase(end, file.tensors.end());
  };
}

// Another form, with as many bytes as it takes.
Breaking Form(const std::string& name, uint32_t type, std::vector<uint64_t> sides, size_t bytes) {
  return [=](GgufTestFile& file) {
    GgufTestTensor& tensor = file.Tensor(name);
    tensor.type = type;
    tensor.sides = sides;
    tensor.data.resize(bytes, '\0');
  };
}

Breaking Bytes(const std::string& name, size_t at, const std::string& bytes) {
  return [=](GgufTestFile& file) { file.Tensor(name).data.replace(at, bytes.size(), bytes); };
}

Breaking Fill(const std::string& name, char byte) {
  return [=](GgufTestFile& file) {
    std::string& data = file.Tensor(name).data;
    data.assign(data.size(), byte);
  };
}

Breaking Key(const std::string& name, const std::string& value) {
  return [=](GgufTestFile& file) { file.Key(name) = value; };
}

Breaking ManyTensors(int count) {
  return [=](GgufTestFile& file) {
    for (int i = 0; i < count; ++i)
      file.tensors.push_back({absl::StrCat("t", i), kF32Type, {1}, GgufNumber(1.0f), 0});
    file.alignment = 8;
    file.Key("general.alignment") = GgufU32(8);
    file.tensors.back().offset_error = 8;
  };
}

Breaking ManyKeys(int count, const std::string& value) {
  return [=](GgufTestFile& file) {
    for (int i = 0; i < count; ++i) file.keys.push_back({absl::StrCat("k", i), value});
    file.tensors[0].offset_error = 32;
  };
}

const std::string kHalfNan("\x00\x7e", 2);
const std::string kHalfInfinity("\x00\x7c", 2);
const std::string kHalfMinusOne("\x00\xbc", 2);

}  // namespace

const std::vector<BrokenGguf> kBrokenGguf = {
    {"QueryAbsent", kTq2Type, Without("blk.1.attn_q.weight"), {"blk.1.attn_q.weight"}},
    {"DownAbsent", kTq1Type, Without("blk.1.ffn_down.weight"), {"blk.1.ffn_down.weight"}},
    {"NormAbsent", kTq2Type, Without("blk.0.ffn_norm.weight"), {"blk.0.ffn_norm.weight"}},
    {"FinalNormAbsent", kTq2Type, Without("output_norm.weight"), {"output_norm.weight"}},
    {"SubNormAbsent", kI2sType, Without("blk.1.ffn_sub_norm.weight"), {"blk.1.ffn_sub_norm.weight"}},
    {"LayerFloats",
     kTq2Type,
     Form("blk.0.ffn_up.weight", kBf16Type, {256, 512}, 256 * 512 * 2),
     {"blk.0.ffn_up.weight"}},
    {"LayerQ80",
     kTq2Type,
     Form("blk.0.ffn_up.weight", kQ80Type, {256, 512}, 512 * 8 * 34),
     {"blk.0.ffn_up.weight"}},
    {"LayerTransposed",
     kTq2Type,
     Form("blk.0.ffn_up.weight", kTq2Type, {512, 256}, 512 * kTq2Bytes),
     {"blk.0.ffn_up.weight"}},
    {"LayerOneRowLess",
     kTq2Type,
     Form("blk.0.ffn_up.weight", kTq2Type, {256, 511}, 511 * kTq2Bytes),
     {"blk.0.ffn_up.weight"}},
    {"LayerFlat",
     kTq2Type,
     Form("blk.0.attn_v.weight", kTq2Type, {256 * 128}, 128 * kTq2Bytes),
     {"blk.0.attn_v.weight"}},
    {"LayerOfThreeSides",
     kTq2Type,
     Form("blk.0.attn_v.weight", kTq2Type, {256, 64, 2}, 128 * kTq2Bytes),
     {"blk.0.attn_v.weight"}},
    {"NormTernary",
     kTq2Type,
     Form("blk.0.attn_norm.weight", kTq2Type, {256}, kTq2Bytes),
     {"blk.0.attn_norm.weight"}},
    {"NormShort",
     kTq2Type,
     Form("blk.0.attn_norm.weight", kF32Type, {255}, 255 * 4),
     {"blk.0.attn_norm.weight"}},
    {"NormOfTwoSides",
     kTq2Type,
     Form("blk.0.attn_norm.weight", kF32Type, {16, 16}, 1024),
     {"blk.0.attn_norm.weight"}},
    {"SubNormShort",
     kI2sType,
     Form("blk.0.attn_sub_norm.weight", kF32Type, {128}, 512),
     {"blk.0.attn_sub_norm.weight"}},
    {"HeadTernary",
     kTq2Type,
     Form("output.weight", kTq2Type, {256, 300}, 300 * kTq2Bytes),
     {"output.weight"}},
    {"HeadOneRowLess", kTq2Type, Form("output.weight", kF16Type, {256, 299}, 299 * 512), {"output.weight"}},
    {"BlockScaleNan",
     kTq2Type,
     Bytes("blk.1.ffn_up.weight", kTq2Bytes - 2, kHalfNan),
     {"blk.1.ffn_up.weight"}},
    {"BlockScaleInfinite",
     kTq1Type,
     Bytes("blk.1.ffn_up.weight", kTq1Bytes - 2, kHalfInfinity),
     {"blk.1.ffn_up.weight"}},
    {"BlockScaleNegative",
     kTq2Type,
     Bytes("blk.1.ffn_up.weight", kTq2Bytes - 2, kHalfMinusOne),
     {"blk.1.ffn_up.weight"}},
    {"MatrixScaleZero",
     kI2sType,
     Bytes("blk.1.ffn_up.weight", 256 * 512 / 4, GgufNumber(0.0f)),
     {"blk.1.ffn_up.weight"}},
    {"MatrixScaleNan",
     kI2sType,
     Bytes("blk.1.ffn_up.weight", 256 * 512 / 4, GgufNumber(std::nanf(""))),
     {"blk.1.ffn_up.weight"}},
    {"CodeThree", kI2sType, Bytes("blk.0.ffn_gate.weight", 100, "\xff"), {"blk.0.ffn_gate.weight", "code 3"}},
    {"CodeThreeOfTq2",
     kTq2Type,
     Bytes("blk.0.ffn_gate.weight", 3, "\xc0"),
     {"blk.0.ffn_gate.weight", "code 3"}},
    {"MatrixOfZeroTrits",
     kI2sType,
     [](GgufTestFile& file) {
       std::string& data = file.Tensor("blk.0.attn_v.weight").data;
       data.replace(0, 128 * 256 / 4, std::string(128 * 256 / 4, '\x55'));
     },
     {"blk.0.attn_v.weight", "zero"}},
    {"MatrixOfZeroBytes", kTq2Type, Fill("blk.0.attn_k.weight", '\0'), {"blk.0.attn_k.weight"}},
    {"NormNan",
     kTq2Type,
     Bytes("blk.1.ffn_norm.weight", 1020, GgufNumber(std::nanf(""))),
     {"blk.1.ffn_norm.weight"}},
    {"FinalNormInfinite",
     kTq2Type,
     Bytes("output_norm.weight", 0, GgufNumber(INFINITY)),
     {"output_norm.weight"}},
    {"ScaleBesideNegative",
     kI2sType,
     [](GgufTestFile& file) {
       file.tensors.push_back({"blk.0.attn_q.scale", kF32Type, {1}, GgufNumber(-1.0f), 0});
     },
     {"blk.0.attn_q.scale"}},
    {"ScaleBesideOfTwo",
     kI2sType,
     [](GgufTestFile& file) {
       file.tensors.push_back({"blk.0.attn_q.scale", kF32Type, {2}, GgufNumber(1.0f) + GgufNumber(1.0f), 0});
     },
     {"blk.0.attn_q.scale"}},
    {"ScaleBesideTernary",
     kTq2Type,
     [](GgufTestFile& file) {
       file.tensors.push_back({"blk.0.attn_q.scale", kTq2Type, {256}, std::string(kTq2Bytes, '\0'), 0});
     },
     {"blk.0.attn_q.scale"}},
    {"LayersOneMore", kTq2Type, Key("llama.block_count", GgufU32(3)), {"blk.2."}},
    {"LayersMost", kTq2Type, Key("llama.block_count", GgufU32(4096)), {"blk.2."}},
    {"FfnOther", kTq2Type, Key("llama.feed_forward_length", GgufU32(256)), {"ffn_gate"}},
    {"FfnMost", kTq2Type, Key("llama.feed_forward_length", GgufU32(1 << 22)), {"ffn_gate"}},
    {"WidthOther", kTq2Type, Key("llama.embedding_length", GgufU32(512)), {"llama."}},
    {"KvHeadsOther", kTq2Type, Key("llama.attention.head_count_kv", GgufU32(4)), {"attn_k"}},
    {"LayersOf64Bits",
     kTq2Type,
     Key("llama.block_count", GgufNumber<uint32_t>(10) + GgufNumber<uint64_t>(1ull << 63)),
     {"block_count"}},
    {"FfnFloat", kTq2Type, Key("llama.feed_forward_length", GgufF32(512)), {"feed_forward_length"}},
    {"HeadsNegative",
     kTq2Type,
     Key("llama.attention.head_count", GgufNumber<uint32_t>(5) + GgufNumber(-4)),
     {"head_count"}},
    {"EpsilonText", kTq2Type, Key("llama.attention.layer_norm_rms_epsilon", GgufText("1e-5")), {"epsilon"}},
    {"ArchitectureWithANewline",
     kTq2Type,
     Key("general.architecture", GgufText("llama\nok: loaded")),
     {"architecture"}},
    {"ManyTensors", kTq2Type, ManyTensors(20'000), {"t19999"}},
    {"ManyKeys", kTq2Type, ManyKeys(50'000, GgufBool(1)), {"50011 keys; at most 1024"}},
    {"ManyArrays", kTq2Type, ManyKeys(1000, GgufArray(8, 0, "")), {"token_embd.weight"}},
    {"LongKeyTwice",
     kTq2Type,
     [](GgufTestFile& file) {
       file.keys.push_back({std::string(60'000, 'k'), GgufBool(1)});
       file.keys.push_back(file.keys.back());
     },
     {"is there twice"}},
    {"ManyEmptyStrings",
     kTq2Type,
     [](GgufTestFile& file) {
       file.Key("tokenizer.ggml.tokens") = GgufArray(8, 500'000, std::string(500'000 * 8, '\0'));
       file.tensors[0].offset_error = 32;
     },
     {"token_embd.weight"}},
};

}  // namespace ternion
