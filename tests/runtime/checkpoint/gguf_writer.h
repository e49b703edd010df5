#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "tests/runtime/checkpoint/checkpoint_writer.h"

// Writes GGUF files for tests, by the plainest means and without the code that reads them. Every field is a byte string
// that a test may spoil before the parts are put together.
namespace ternion {

template <typename T>
std::string GgufNumber(T value) {
  std::string bytes(sizeof(T), '\0');
  std::memcpy(bytes.data(), &value, sizeof(T));
  return bytes;
}

inline std::string GgufString(const std::string& text) { return GgufNumber<uint64_t>(text.size()) + text; }

// A value with its type in front.
inline std::string GgufU32(uint32_t value) { return GgufNumber<uint32_t>(4) + GgufNumber(value); }
inline std::string GgufF32(float value) { return GgufNumber<uint32_t>(6) + GgufNumber(value); }
inline std::string GgufBool(uint8_t value) { return GgufNumber<uint32_t>(7) + GgufNumber(value); }
inline std::string GgufText(const std::string& text) { return GgufNumber<uint32_t>(8) + GgufString(text); }
inline std::string GgufArray(uint32_t type, uint64_t count, const std::string& elements) {
  return GgufNumber<uint32_t>(9) + GgufNumber(type) + GgufNumber(count) + elements;
}
inline std::string GgufTexts(const std::vector<std::string>& texts) {
  std::string elements;
  for (const std::string& text : texts) elements += GgufString(text);
  return GgufArray(8, texts.size(), elements);
}
inline std::string GgufI32s(const std::vector<int32_t>& values) {
  return GgufArray(5, values.size(), BytesOf(values));
}

struct GgufTestTensor {
  std::string name;
  uint32_t type = 0;
  std::vector<uint64_t> sides;  // as the file has them: the row's length first
  std::string data;
  int64_t offset_error = 0;  // added to the right offset
};

struct GgufTestFile {
  std::string magic = "GGUF";
  uint32_t version = 3;
  int64_t tensor_count_error = 0;
  int64_t key_count_error = 0;
  uint64_t alignment = 32;  // what the writer does; general.alignment is a key like others
  std::vector<std::pair<std::string, std::string>> keys;  // values with their types
  std::vector<GgufTestTensor> tensors;
  std::string tail;  // after all

  std::string& Key(const std::string& name) {
    for (auto& [key, value] : keys) {
      if (key == name) return value;
    }
    return keys.emplace_back(name, "").second;
  }
  GgufTestTensor& Tensor(const std::string& name) {
    for (GgufTestTensor& tensor : tensors) {
      if (tensor.name == name) return tensor;
    }
    return tensors.emplace_back(GgufTestTensor{name, 0, {}, "", 0});
  }

  void Pad(std::string& bytes) const {
    while (bytes.size() % alignment != 0) bytes += '\0';
  }

  std::string Bytes() const {
    std::string bytes = magic + GgufNumber(version) +
                        GgufNumber<uint64_t>(tensors.size() + tensor_count_error) +
                        GgufNumber<uint64_t>(keys.size() + key_count_error);
    for (const auto& [key, value] : keys) bytes += GgufString(key) + value;
    std::string data;
    for (const GgufTestTensor& tensor : tensors) {
      bytes += GgufString(tensor.name) + GgufNumber<uint32_t>(static_cast<uint32_t>(tensor.sides.size())) +
               BytesOf(tensor.sides) + GgufNumber(tensor.type) +
               GgufNumber<uint64_t>(data.size() + static_cast<uint64_t>(tensor.offset_error));
      data += tensor.data;
      Pad(data);
    }
    if (!tensors.empty()) Pad(bytes);
    return bytes + data + tail;
  }
};

}  // namespace ternion
