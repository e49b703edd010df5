#pragma once

#include <cstdint>
#include <initializer_list>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "runtime/checkpoint/gguf_bytes.h"
#include "runtime/checkpoint/json.h"

namespace ternion {

// The keys and values in front of a GGUF file's tensors. Borrows the file's bytes.
class GgufMetadata {
 public:
  // `count` key-value pairs. kDataLoss: cut short, a key twice, an unknown type, a string that is not UTF-8, an array
  // of arrays.
  static absl::StatusOr<GgufMetadata> Read(GgufBytes& bytes, uint64_t count, std::string_view where);

  // Numbers, booleans and strings by key. An array stands there as its description, which no typed access accepts.
  JsonFields fields() const { return *JsonFields::Of(values_, where_); }
  const nlohmann::json& values() const { return values_; }

  // The elements of an array. kInvalidArgument when the key is missing or is no array of that type.
  absl::StatusOr<std::vector<std::string_view>> Strings(std::string_view key) const;
  absl::StatusOr<std::vector<int32_t>> Ints(std::string_view key) const;  // of int32 or uint32
  absl::StatusOr<std::vector<float>> Floats(std::string_view key) const;  // of float32

 private:
  struct Array {
    std::string_view type;  // of the elements: "u32"
    uint64_t count;
    absl::Span<const std::byte> bytes;
  };

  GgufMetadata() = default;
  absl::Status ReadValue(GgufBytes& bytes, const std::string& key);
  absl::StatusOr<Array> ReadArray(GgufBytes& bytes);
  absl::StatusOr<const Array*> ArrayOf(std::string_view key, std::initializer_list<std::string_view> types,
                                       std::string_view right) const;

  std::string where_;
  nlohmann::json values_ = nlohmann::json::object();
  std::map<std::string, Array, std::less<>> arrays_;
};

}  // namespace ternion
