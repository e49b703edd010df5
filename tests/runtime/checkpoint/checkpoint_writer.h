#pragma once

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "tests/support/temp_folder.h"

// Writes checkpoints for tests, by the plainest means and without the code that reads them.
namespace ternion {

struct TestTensor {
  std::string dtype;
  std::vector<int64_t> shape;
  std::string bytes;
};
using TestTensors = std::map<std::string, TestTensor>;

template <typename T>
std::string BytesOf(const std::vector<T>& values) {
  std::string bytes(values.size() * sizeof(T), '\0');
  if (!values.empty()) std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

inline TestTensor F32Tensor(std::vector<int64_t> shape, const std::vector<float>& values) {
  return {"F32", std::move(shape), BytesOf(values)};
}

// Values whose low sixteen bits are zero; others are cut.
inline TestTensor Bf16Tensor(std::vector<int64_t> shape, const std::vector<float>& values) {
  std::vector<uint16_t> halves;
  for (const float value : values) {
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof(bits));
    halves.push_back(static_cast<uint16_t>(bits >> 16));
  }
  return {"BF16", std::move(shape), BytesOf(halves)};
}

inline std::string WithHeader(const std::string& header, const std::string& data) {
  const uint64_t length = header.size();
  std::string file(sizeof(length), '\0');
  std::memcpy(file.data(), &length, sizeof(length));
  return file + header + data;
}

inline std::string SafetensorsBytes(const TestTensors& tensors) {
  nlohmann::json header = {{"__metadata__", {{"format", "pt"}}}};
  std::string data;
  for (const auto& [name, tensor] : tensors) {
    header[name] = {{"dtype", tensor.dtype},
                    {"shape", tensor.shape},
                    {"data_offsets", {data.size(), data.size() + tensor.bytes.size()}}};
    data += tensor.bytes;
  }
  return WithHeader(header.dump(), data);
}

// A matrix of trits [outputs, inputs].
struct TestMatrix {
  int64_t outputs = 0;
  int64_t inputs = 0;
  std::vector<int> trits;
  int at(int64_t output, int64_t input) const { return trits[static_cast<size_t>(output * inputs + input)]; }
};

// Four output channels a byte, as docs/numerics.md says of Hugging Face's packing.
inline TestTensor PackedTensor(const TestMatrix& matrix) {
  const int64_t byte_rows = matrix.outputs / 4;
  std::vector<uint8_t> bytes(static_cast<size_t>(byte_rows * matrix.inputs));
  for (int64_t o = 0; o < matrix.outputs; ++o) {
    for (int64_t i = 0; i < matrix.inputs; ++i) {
      const int code = matrix.at(o, i) + 1;
      bytes[static_cast<size_t>(o % byte_rows * matrix.inputs + i)] |=
          static_cast<uint8_t>(code << (2 * (o / byte_rows)));
    }
  }
  return {"U8", {byte_rows, matrix.inputs}, BytesOf(bytes)};
}

// A model with random weights: hidden 64, 4 heads of 16 on 2 KV heads, FFN 160, 300 ids.
class TinyModel {
 public:
  static constexpr int64_t kHidden = 64, kFfn = 160, kLayers = 2, kVocab = 300, kKv = 32;

  TinyModel() {
    const std::map<std::string, std::pair<int64_t, int64_t>> shapes = {
        {"self_attn.q_proj", {kHidden, kHidden}}, {"self_attn.k_proj", {kKv, kHidden}},
        {"self_attn.v_proj", {kKv, kHidden}},     {"self_attn.o_proj", {kHidden, kHidden}},
        {"mlp.gate_proj", {kFfn, kHidden}},       {"mlp.up_proj", {kFfn, kHidden}},
        {"mlp.down_proj", {kHidden, kFfn}}};
    for (const auto& [name, shape] : shapes) {
      for (int layer = 0; layer < kLayers; ++layer) {
        matrices[Prefix(layer) + name] = RandomMatrix(shape.first, shape.second);
      }
    }
    AddVectors();
  }

  static std::string Prefix(int layer) { return "model.layers." + std::to_string(layer) + "."; }

  // The tensors of a packed checkpoint; every matrix has the stored weight_scale `scale`.
  TestTensors Packed(float scale) const {
    TestTensors tensors = others;
    for (const auto& [name, matrix] : matrices) {
      tensors[name + ".weight"] = PackedTensor(matrix);
      tensors[name + ".weight_scale"] = F32Tensor({1}, {scale});
    }
    return tensors;
  }

  static nlohmann::json Config() {
    return {{"model_type", "bitnet"},
            {"hidden_act", "relu2"},
            {"hidden_size", kHidden},
            {"intermediate_size", kFfn},
            {"num_hidden_layers", kLayers},
            {"num_attention_heads", 4},
            {"num_key_value_heads", 2},
            {"vocab_size", kVocab},
            {"max_position_embeddings", 128},
            {"rms_norm_eps", 1e-5},
            {"rope_theta", 10000.0},
            {"tie_word_embeddings", true},
            {"eos_token_id", 2},
            {"quantization_config", {{"quant_method", "bitnet"}, {"linear_class", "autobitlinear"}}}};
  }

  static void Write(const TempFolder& folder, const nlohmann::json& config, const TestTensors& tensors) {
    folder.Write("config.json", config.dump());
    folder.Write("model.safetensors", SafetensorsBytes(tensors));
  }

  std::map<std::string, TestMatrix> matrices;  // by name without ".weight"
  TestTensors others;                          // norms and embedding

 private:
  TestMatrix RandomMatrix(int64_t outputs, int64_t inputs) {
    TestMatrix matrix = {outputs, inputs, {}};
    for (int64_t i = 0; i < outputs * inputs; ++i)
      matrix.trits.push_back(static_cast<int>(random_() % 3) - 1);
    return matrix;
  }

  std::vector<float> RandomFloats(int64_t n) {
    std::vector<float> values;
    for (int64_t i = 0; i < n; ++i) values.push_back(static_cast<float>(random_() % 255) / 64.0f - 2.0f);
    return values;
  }

  void AddVectors() {
    others["model.embed_tokens.weight"] = Bf16Tensor({kVocab, kHidden}, RandomFloats(kVocab * kHidden));
    others["model.norm.weight"] = Bf16Tensor({kHidden}, RandomFloats(kHidden));
    for (int layer = 0; layer < kLayers; ++layer) {
      for (const char* name : {"input_layernorm", "post_attention_layernorm", "self_attn.attn_sub_norm"}) {
        others[Prefix(layer) + name + ".weight"] = Bf16Tensor({kHidden}, RandomFloats(kHidden));
      }
      others[Prefix(layer) + "mlp.ffn_sub_norm.weight"] = Bf16Tensor({kFfn}, RandomFloats(kFfn));
    }
  }

  std::mt19937 random_{7};
};

}  // namespace ternion
