#pragma once

#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "tests/runtime/checkpoint/gguf_model_writer.h"

// The demo model in tests/data/demo-b1.58 as a GGUF file, written as llama.cpp's converters would.
namespace ternion {

inline std::string ReadSource(const std::string& path) {
  std::ifstream file(std::string(TERNION_SOURCE_DIR) + "/" + path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

// Tokens, merges and ids of the demo's tokenizer.json. No tokenizer.ggml.pre, like the files of 2B-4T.
inline void AddDemoTokenizer(GgufTestFile& file) {
  const auto json = nlohmann::json::parse(ReadSource("configs/demo/tokenizer.json"));
  std::vector<std::string> tokens(4096);
  std::vector<int32_t> types(tokens.size(), 1);
  for (const auto& [token, id] : json["model"]["vocab"].items()) tokens[id] = token;
  for (const auto& added : json["added_tokens"]) {
    tokens[added["id"]] = added["content"];
    types[added["id"]] = 3;
  }
  std::vector<std::string> merges;
  for (const auto& merge : json["model"]["merges"]) {
    merges.push_back(merge[0].get<std::string>() + " " + merge[1].get<std::string>());
  }
  file.Key("tokenizer.ggml.model") = GgufText("gpt2");
  file.Key("tokenizer.ggml.tokens") = GgufTexts(tokens);
  file.Key("tokenizer.ggml.token_type") = GgufI32s(types);
  file.Key("tokenizer.ggml.merges") = GgufTexts(merges);
  file.Key("tokenizer.ggml.bos_token_id") = GgufU32(4080);
  file.Key("tokenizer.ggml.eos_token_id") = GgufU32(4081);
}

inline void AddDemoConfig(GgufTestFile& file) {
  const auto config = nlohmann::json::parse(ReadSource("tests/data/demo-b1.58/config.json"));
  file.Key("general.architecture") = GgufText("bitnet-b1.58");
  for (const auto& [key, field] :
       std::vector<std::pair<std::string, std::string>>{{"block_count", "num_hidden_layers"},
                                                        {"embedding_length", "hidden_size"},
                                                        {"feed_forward_length", "intermediate_size"},
                                                        {"attention.head_count", "num_attention_heads"},
                                                        {"attention.head_count_kv", "num_key_value_heads"},
                                                        {"context_length", "max_position_embeddings"}}) {
    file.Key("bitnet-b1.58." + key) = GgufU32(config[field]);
  }
  file.Key("bitnet-b1.58.attention.layer_norm_rms_epsilon") = GgufF32(config["rms_norm_eps"]);
  file.Key("bitnet-b1.58.rope.freq_base") = GgufF32(config["rope_theta"]);
}

inline std::string DemoTensorName(const std::string& name) {
  static const std::vector<std::pair<std::string, std::string>> names = {
      {"model.embed_tokens", "token_embd"},
      {"model.norm", "output_norm"},
      {"model.layers.", "blk."},
      {"input_layernorm", "attn_norm"},
      {"self_attn.q_proj", "attn_q"},
      {"self_attn.k_proj", "attn_k"},
      {"self_attn.v_proj", "attn_v"},
      {"self_attn.o_proj", "attn_output"},
      {"self_attn.attn_sub_norm", "attn_sub_norm"},
      {"post_attention_layernorm", "ffn_norm"},
      {"mlp.gate_proj", "ffn_gate"},
      {"mlp.up_proj", "ffn_up"},
      {"mlp.ffn_sub_norm", "ffn_sub_norm"},
      {"mlp.down_proj", "ffn_down"}};
  std::string result = name;
  for (const auto& [theirs, gguf] : names) {
    if (const size_t at = result.find(theirs); at != result.npos) result.replace(at, theirs.size(), gguf);
  }
  return result;
}

// Four output channels a byte -> trits by rows.
inline std::vector<int> UnpackDemo(const std::string& bytes) {
  std::vector<int> trits;
  for (const int shift : {0, 2, 4, 6}) {
    for (const char byte : bytes) trits.push_back(((static_cast<uint8_t>(byte) >> shift) & 3) - 1);
  }
  return trits;
}

inline float WidenBf16(const std::string& bytes) {
  float value = 0;
  std::memcpy(reinterpret_cast<char*>(&value) + 2, bytes.data(), 2);
  return value;
}

// I2_S, with the folder's bfloat16 in norms and embedding, so that nothing is rounded.
inline GgufTestFile DemoGguf() {
  const std::string file = ReadSource("tests/data/demo-b1.58/model.safetensors");
  uint64_t length = 0;
  std::memcpy(&length, file.data(), sizeof(length));
  const auto header = nlohmann::json::parse(file.substr(8, length));
  const auto bytes = [&](const std::string& name) {
    const size_t begin = header[name]["data_offsets"][0];
    const size_t end = header[name]["data_offsets"][1];
    return file.substr(8 + length + begin, end - begin);
  };
  GgufTestFile gguf;
  AddDemoConfig(gguf);
  AddDemoTokenizer(gguf);
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__" || name.find("weight_scale") != name.npos) continue;
    const std::vector<uint64_t> shape = entry["shape"];
    std::vector<uint64_t> sides(shape.rbegin(), shape.rend());
    const bool packed = entry["dtype"] == "U8";
    if (packed) sides[1] *= 4;
    const std::string data =
        packed ? EncodeI2s(UnpackDemo(bytes(name)), WidenBf16(bytes(name + "_scale"))) : bytes(name);
    gguf.tensors.push_back({DemoTensorName(name), packed ? kI2sType : kBf16Type, sides, data, 0});
  }
  return gguf;
}

}  // namespace ternion
