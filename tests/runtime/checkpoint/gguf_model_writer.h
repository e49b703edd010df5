#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "tests/runtime/checkpoint/expected_weights.h"
#include "tests/runtime/checkpoint/gguf_writer.h"

// A small ternary model as a GGUF file, packed as docs/numerics.md says, and as the arrays that it should load as.
namespace ternion {

constexpr uint32_t kF32Type = 0, kF16Type = 1, kQ80Type = 8, kBf16Type = 30, kTq1Type = 34, kTq2Type = 35,
                   kI2sType = 36;

inline std::string EncodeI2s(const std::vector<int>& trits, float scale) {
  std::string bytes(trits.size() / 4, '\0');
  for (size_t i = 0; i < trits.size(); ++i) {
    const size_t j = i % 128;
    bytes[i / 128 * 32 + j % 32] |= static_cast<char>((trits[i] + 1) << (6 - 2 * (j / 32)));
  }
  return bytes + GgufNumber(scale) + std::string(28, '\0');
}

// fp16 bits of a power of two from 2^-14 to 2^15.
inline std::string HalfPowerOfTwo(float value) {
  uint16_t exponent = 15;
  for (; value < 1; value *= 2) --exponent;
  for (; value > 1; value /= 2) ++exponent;
  return GgufNumber<uint16_t>(static_cast<uint16_t>(exponent << 10));
}

inline std::string EncodeTq2(const std::vector<int>& trits, float scale) {
  std::string bytes;
  for (size_t begin = 0; begin < trits.size(); begin += 256) {
    std::string block(64, '\0');
    for (size_t j = 0; j < 256; ++j) {
      block[j / 128 * 32 + j % 32] |= static_cast<char>((trits[begin + j] + 1) << (2 * (j / 32 % 4)));
    }
    bytes += block + HalfPowerOfTwo(scale);
  }
  return bytes;
}

// Bytes of `digits` base-3 digits that lie `width` values apart, the most significant first.
inline std::string EncodeDigits(const int* trits, int width, int digits) {
  std::string bytes;
  for (int i = 0; i < width; ++i) {
    int value = 0;
    for (int digit = 0; digit < 5; ++digit)
      value = 3 * value + (digit < digits ? trits[digit * width + i] + 1 : 0);
    bytes += static_cast<char>((value * 256 + 242) / 243);
  }
  return bytes;
}

inline std::string EncodeTq1(const std::vector<int>& trits, float scale) {
  std::string bytes;
  for (size_t begin = 0; begin < trits.size(); begin += 256) {
    const int* block = trits.data() + begin;
    bytes += EncodeDigits(block, 32, 5) + EncodeDigits(block + 160, 16, 5) + EncodeDigits(block + 240, 4, 4);
    bytes += HalfPowerOfTwo(scale);
  }
  return bytes;
}

inline std::string EncodeTrits(uint32_t type, const std::vector<int>& trits, float scale) {
  if (type == kI2sType) return EncodeI2s(trits, scale);
  return type == kTq1Type ? EncodeTq1(trits, scale) : EncodeTq2(trits, scale);
}

// Hidden 256, 4 heads of 64 on 2 KV heads, FFN 512, 2 layers, 300 ids.
class GgufTinyModel {
 public:
  static constexpr int64_t kHidden = 256, kFfn = 512, kLayers = 2, kVocab = 300, kKv = 128, kHeadDim = 64;

  // `llama`: rows of q and k in interleaved order, no sub-norms, a head of its own.
  GgufTinyModel(const std::string& architecture, uint32_t type)
      : architecture_(architecture), type_(type), llama_(architecture == "llama") {
    AddKeys();
    AddTable("token_embd", "model.embed_tokens");
    if (llama_) AddTable("output", "lm_head");
    AddNorm("output_norm", "model.norm", kHidden);
    for (int layer = 0; layer < kLayers; ++layer) AddLayer(layer);
  }

  GgufTestFile file;
  ExpectedWeights expected;

 private:
  void AddKeys() {
    const auto key = [&](const std::string& name) -> std::string& {
      return file.Key(architecture_ + "." + name);
    };
    file.Key("general.architecture") = GgufText(architecture_);
    key("block_count") = GgufU32(kLayers);
    key("embedding_length") = GgufU32(kHidden);
    key("feed_forward_length") = GgufU32(kFfn);
    key("attention.head_count") = GgufU32(4);
    key("attention.head_count_kv") = GgufU32(2);
    key("attention.layer_norm_rms_epsilon") = GgufF32(1e-5f);
    key("rope.freq_base") = GgufF32(500000);
    key("rope.dimension_count") = GgufU32(kHeadDim);
    key("context_length") = GgufU32(128);
    key("vocab_size") = GgufU32(kVocab);
  }

  void AddLayer(int layer) {
    const std::string prefix = "blk." + std::to_string(layer) + ".";
    const std::string ours = TinyModel::Prefix(layer);
    AddNorm(prefix + "attn_norm", ours + "input_layernorm", kHidden);
    AddMatrix(prefix + "attn_q", ours + "self_attn.q_proj", kHidden, kHidden, llama_);
    AddMatrix(prefix + "attn_k", ours + "self_attn.k_proj", kKv, kHidden, llama_);
    AddMatrix(prefix + "attn_v", ours + "self_attn.v_proj", kKv, kHidden, false);
    AddMatrix(prefix + "attn_output", ours + "self_attn.o_proj", kHidden, kHidden, false);
    AddNorm(prefix + "ffn_norm", ours + "post_attention_layernorm", kHidden);
    AddMatrix(prefix + "ffn_gate", ours + "mlp.gate_proj", kFfn, kHidden, false);
    AddMatrix(prefix + "ffn_up", ours + "mlp.up_proj", kFfn, kHidden, false);
    AddMatrix(prefix + "ffn_down", ours + "mlp.down_proj", kHidden, kFfn, false);
    if (llama_) return;
    AddNorm(prefix + "attn_sub_norm", ours + "self_attn.attn_sub_norm", kHidden);
    AddNorm(prefix + "ffn_sub_norm", ours + "mlp.ffn_sub_norm", kFfn);
  }

  void AddMatrix(const std::string& name, const std::string& ours, int64_t outputs, int64_t inputs,
                 bool interleave) {
    TestMatrix matrix = {outputs, inputs, {}};
    for (int64_t i = 0; i < outputs * inputs; ++i)
      matrix.trits.push_back(static_cast<int>(random_() % 3) - 1);
    const float scale = 1.0f / static_cast<float>(2 << (scales_++ % 8));
    const std::vector<int> stored = interleave ? Interleave(matrix).trits : matrix.trits;
    file.tensors.push_back({name + ".weight",
                            type_,
                            {static_cast<uint64_t>(inputs), static_cast<uint64_t>(outputs)},
                            EncodeTrits(type_, stored, scale),
                            0});
    expected.matrices[ours] = std::move(matrix);
    expected.scales[ours] = scale;
  }

  // Rows 0, 32, 1, 33, ... of every head of 64.
  static TestMatrix Interleave(const TestMatrix& matrix) {
    TestMatrix result = {matrix.outputs, matrix.inputs, {}};
    for (int64_t head = 0; head < matrix.outputs; head += kHeadDim) {
      for (int64_t pair = 0; pair < kHeadDim / 2; ++pair) {
        for (const int64_t row : {head + pair, head + pair + kHeadDim / 2}) {
          for (int64_t i = 0; i < matrix.inputs; ++i) result.trits.push_back(matrix.at(row, i));
        }
      }
    }
    return result;
  }

  std::vector<float> RandomFloats(int64_t n) {
    std::vector<float> values;
    for (int64_t i = 0; i < n; ++i) values.push_back(static_cast<float>(random_() % 255) / 64.0f - 2.0f);
    return values;
  }

  void AddNorm(const std::string& name, const std::string& ours, int64_t n) {
    const std::vector<float> values = RandomFloats(n);
    file.tensors.push_back({name + ".weight", kF32Type, {static_cast<uint64_t>(n)}, BytesOf(values), 0});
    expected.vectors[ours] = values;
  }

  void AddTable(const std::string& name, const std::string& ours) {
    const TestTensor table = Bf16Tensor({kVocab, kHidden}, RandomFloats(kVocab * kHidden));
    file.tensors.push_back({name + ".weight", kBf16Type, {kHidden, kVocab}, table.bytes, 0});
    std::vector<uint16_t> halves(table.bytes.size() / 2);
    std::memcpy(halves.data(), table.bytes.data(), table.bytes.size());
    expected.tables[ours] = std::move(halves);
  }

  const std::string architecture_;
  const uint32_t type_;
  const bool llama_;
  int scales_ = 0;
  std::mt19937 random_{7};
};

}  // namespace ternion
