#include "runtime/text/protobuf_wire.h"

#include <cstring>

#include "absl/strings/str_cat.h"
#include "kernels/status.h"

namespace ternion {
namespace {

enum WireType : uint64_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };
constexpr int kMostVarintBytes = 10;

}  // namespace

float ProtobufField::AsFloat() const {
  const auto bits = static_cast<uint32_t>(value);
  float result = 0;
  std::memcpy(&result, &bits, sizeof(result));
  return result;
}

absl::StatusOr<ProtobufField> ProtobufReader::Next() {
  TERNION_ASSIGN_OR_RETURN(const uint64_t key, Varint());
  ProtobufField field;
  field.number = key >> 3;
  switch (key & 7) {
    case kVarint: {
      TERNION_ASSIGN_OR_RETURN(field.value, Varint());
      return field;
    }
    case kFixed64: {
      TERNION_ASSIGN_OR_RETURN(field.value, Fixed(sizeof(uint64_t)));
      return field;
    }
    case kBytes: {
      TERNION_ASSIGN_OR_RETURN(field.bytes, Bytes());
      return field;
    }
    case kFixed32: {
      TERNION_ASSIGN_OR_RETURN(field.value, Fixed(sizeof(uint32_t)));
      return field;
    }
    default:
      return Malformed(absl::StrCat("has the wire type ", key & 7));
  }
}

absl::StatusOr<uint64_t> ProtobufReader::Varint() {
  uint64_t value = 0;
  for (int i = 0; i < kMostVarintBytes; ++i) {
    if (AtEnd()) return Malformed("is cut short");
    const auto byte = static_cast<uint8_t>(bytes_[at_++]);
    value |= static_cast<uint64_t>(byte & 0x7F) << (7 * i);
    if ((byte & 0x80) == 0) return value;
  }
  return Malformed("is a number of more than ten bytes");
}

absl::StatusOr<uint64_t> ProtobufReader::Fixed(size_t size) {
  if (bytes_.size() - at_ < size) return Malformed("is cut short");
  uint64_t value = 0;
  for (size_t i = 0; i < size; ++i)
    value |= static_cast<uint64_t>(static_cast<uint8_t>(bytes_[at_++])) << (8 * i);
  return value;
}

absl::StatusOr<std::string_view> ProtobufReader::Bytes() {
  TERNION_ASSIGN_OR_RETURN(const uint64_t size, Varint());
  if (size > bytes_.size() - at_) return Malformed("is cut short");
  const std::string_view bytes = bytes_.substr(at_, size);
  at_ += size;
  return bytes;
}

absl::Status ProtobufReader::Malformed(std::string_view what) const {
  return absl::InvalidArgumentError(absl::StrCat("the field before byte ", at_, " ", ToAbsl(what)));
}

void ProtobufWriter::AppendVarint(uint64_t value) {
  for (; value >= 0x80; value >>= 7) bytes_ += static_cast<char>(value | 0x80);
  bytes_ += static_cast<char>(value);
}

void ProtobufWriter::Varint(uint32_t number, uint64_t value) {
  AppendVarint(uint64_t{number} << 3 | kVarint);
  AppendVarint(value);
}

void ProtobufWriter::Float(uint32_t number, float value) {
  uint32_t bits = 0;
  std::memcpy(&bits, &value, sizeof(bits));
  AppendVarint(uint64_t{number} << 3 | kFixed32);
  for (int i = 0; i < 4; ++i) bytes_ += static_cast<char>(bits >> (8 * i));
}

void ProtobufWriter::Bytes(uint32_t number, std::string_view bytes) {
  AppendVarint(uint64_t{number} << 3 | kBytes);
  AppendVarint(bytes.size());
  bytes_ += bytes;
}

}  // namespace ternion
