#include "runtime/checkpoint/gguf_metadata.h"

#include <algorithm>
#include <cstring>
#include <type_traits>

#include "absl/strings/str_cat.h"
#include "kernels/status.h"
#include "runtime/checkpoint/json.h"
#include "runtime/text/utf8.h"

namespace ternion {
namespace {

using nlohmann::json;

constexpr uint64_t kMostKeys = 1024;  // files have some dozens; what is kept of a key is many times its bytes
constexpr uint64_t kMostKeyBytes = 65535;
constexpr uint64_t kLeastPairBytes = 14;  // a key of one byte with its length, a type, a value of one byte
constexpr uint64_t kLengthBytes = 8;      // in front of a string

// Numbers that are not negative become unsigned, as in a JSON text.
template <typename T>
absl::StatusOr<json> ReadNumber(GgufBytes& bytes) {
  TERNION_ASSIGN_OR_RETURN(const T value, bytes.Number<T>());
  if constexpr (std::is_integral_v<T>) {
    if (value >= 0) return json(static_cast<uint64_t>(value));
  }
  return json(value);
}

absl::StatusOr<json> ReadBool(GgufBytes& bytes) {
  TERNION_ASSIGN_OR_RETURN(const uint8_t value, bytes.Number<uint8_t>());
  if (value <= 1) return json(value == 1);
  return bytes.Malformed(absl::StrCat("is the boolean ", value, "; it must be 0 or 1"));
}

absl::StatusOr<json> ReadString(GgufBytes& bytes) {
  TERNION_ASSIGN_OR_RETURN(const std::string_view text, bytes.String());
  const size_t invalid = FindInvalidUtf8(text);
  if (invalid == text.npos) return json(std::string(text));
  return bytes.Malformed(absl::StrCat("its text is not UTF-8 at byte ", invalid));
}

struct ValueType {
  std::string_view name;
  uint64_t bytes;                                  // of an element; 0: varies
  absl::StatusOr<json> (*read)(GgufBytes& bytes);  // null: an array
};
constexpr ValueType kTypes[] = {{"u8", 1, ReadNumber<uint8_t>},   {"i8", 1, ReadNumber<int8_t>},
                                {"u16", 2, ReadNumber<uint16_t>}, {"i16", 2, ReadNumber<int16_t>},
                                {"u32", 4, ReadNumber<uint32_t>}, {"i32", 4, ReadNumber<int32_t>},
                                {"f32", 4, ReadNumber<float>},    {"bool", 1, ReadBool},
                                {"string", 0, ReadString},        {"array", 0, nullptr},
                                {"u64", 8, ReadNumber<uint64_t>}, {"i64", 8, ReadNumber<int64_t>},
                                {"f64", 8, ReadNumber<double>}};

absl::StatusOr<const ValueType*> ReadType(GgufBytes& bytes) {
  TERNION_ASSIGN_OR_RETURN(const uint32_t type, bytes.Number<uint32_t>());
  if (type < std::size(kTypes)) return &kTypes[type];
  return bytes.Malformed(
      absl::StrCat("has the value type ", type, "; types are 0 to ", std::size(kTypes) - 1));
}

// Walks over the strings of an array.
absl::Status SkipStrings(GgufBytes& bytes, uint64_t count) {
  if (count > bytes.left() / kLengthBytes) {
    return bytes.Malformed(
        absl::StrCat("holds ", count, " strings, but the file has only ", bytes.left(), " bytes left"));
  }
  for (uint64_t i = 0; i < count; ++i) TERNION_RETURN_IF_ERROR(bytes.String().status());
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<GgufMetadata> GgufMetadata::Read(GgufBytes& bytes, uint64_t count, std::string_view where) {
  GgufMetadata metadata;
  metadata.where_ = where;
  if (count > bytes.left() / kLeastPairBytes) {
    return bytes.Malformed(
        absl::StrCat("announces ", count, " keys, but the file has only ", bytes.left(), " bytes left"));
  }
  if (count > kMostKeys) {
    return bytes.Malformed(absl::StrCat("announces ", count, " keys; at most ", kMostKeys, " are read"));
  }
  for (uint64_t i = 0; i < count; ++i) {
    bytes.Enter(absl::StrCat("key number ", i));
    TERNION_ASSIGN_OR_RETURN(const std::string_view name, bytes.Name(kMostKeyBytes));
    const std::string key(name);
    bytes.Enter("key " + Shown(key));
    if (metadata.values_.contains(key)) return bytes.Malformed("is there twice");
    TERNION_RETURN_IF_ERROR(metadata.ReadValue(bytes, key));
  }
  return metadata;
}

absl::Status GgufMetadata::ReadValue(GgufBytes& bytes, const std::string& key) {
  TERNION_ASSIGN_OR_RETURN(const ValueType* type, ReadType(bytes));
  if (type->read != nullptr) {
    TERNION_ASSIGN_OR_RETURN(values_[key], type->read(bytes));
    return absl::OkStatus();
  }
  TERNION_ASSIGN_OR_RETURN(const Array array, ReadArray(bytes));
  values_[key] = json::array({absl::StrCat("array of ", array.count, " ", ToAbsl(array.type))});
  arrays_.emplace(key, array);
  return absl::OkStatus();
}

absl::StatusOr<GgufMetadata::Array> GgufMetadata::ReadArray(GgufBytes& bytes) {
  TERNION_ASSIGN_OR_RETURN(const ValueType* type, ReadType(bytes));
  if (type->read == nullptr) return bytes.Malformed("is an array of arrays, which no known key has");
  TERNION_ASSIGN_OR_RETURN(const uint64_t count, bytes.Number<uint64_t>());
  if (type->bytes > 0) {
    TERNION_ASSIGN_OR_RETURN(const auto elements, bytes.Take(count, type->bytes));
    return Array{type->name, count, elements};
  }
  const uint64_t begin = bytes.at();
  TERNION_RETURN_IF_ERROR(SkipStrings(bytes, count));
  return Array{type->name, count, bytes.Since(begin)};
}

absl::StatusOr<const GgufMetadata::Array*> GgufMetadata::ArrayOf(
    std::string_view key, std::initializer_list<std::string_view> types, std::string_view right) const {
  const auto found = arrays_.find(key);
  if (found == arrays_.end() || std::find(types.begin(), types.end(), found->second.type) == types.end()) {
    return fields().Wrong(key, right);
  }
  return &found->second;
}

absl::StatusOr<std::vector<std::string_view>> GgufMetadata::Strings(std::string_view key) const {
  TERNION_ASSIGN_OR_RETURN(const Array* array, ArrayOf(key, {"string"}, "it must be an array of strings"));
  GgufBytes bytes(array->bytes, where_);
  std::vector<std::string_view> strings;
  strings.reserve(array->count);
  for (uint64_t i = 0; i < array->count; ++i) {
    TERNION_ASSIGN_OR_RETURN(strings.emplace_back(), bytes.String());
  }
  return strings;
}

absl::StatusOr<std::vector<int32_t>> GgufMetadata::Ints(std::string_view key) const {
  TERNION_ASSIGN_OR_RETURN(const Array* array,
                           ArrayOf(key, {"i32", "u32"}, "it must be an array of 32-bit integers"));
  std::vector<int32_t> values(array->count);
  if (!values.empty()) std::memcpy(values.data(), array->bytes.data(), array->bytes.size());
  return values;
}

absl::StatusOr<std::vector<float>> GgufMetadata::Floats(std::string_view key) const {
  TERNION_ASSIGN_OR_RETURN(const Array* array, ArrayOf(key, {"f32"}, "it must be an array of 32-bit floats"));
  std::vector<float> values(array->count);
  if (!values.empty()) std::memcpy(values.data(), array->bytes.data(), array->bytes.size());
  return values;
}

}  // namespace ternion
