#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace ternion {

// The wire format of protocol buffers (protobuf.dev/programming-guides/encoding), as far as a SentencePiece model needs it.
struct ProtobufField {
  uint64_t number = 0;
  uint64_t value = 0;      // of a varint or a fixed number
  std::string_view bytes;  // of a string, a message or packed numbers

  float AsFloat() const;
};

// The fields of one message, in order.
class ProtobufReader {
 public:
  // The bytes outlive the reader and its fields.
  explicit ProtobufReader(std::string_view bytes) : bytes_(bytes) {}

  bool AtEnd() const { return at_ == bytes_.size(); }
  // Not at the end. kInvalidArgument with the byte where the message is malformed.
  absl::StatusOr<ProtobufField> Next();

 private:
  absl::StatusOr<uint64_t> Varint();
  absl::StatusOr<uint64_t> Fixed(size_t size);
  absl::StatusOr<std::string_view> Bytes();
  absl::Status Malformed(std::string_view what) const;

  std::string_view bytes_;
  size_t at_ = 0;
};

// Writes one message.
class ProtobufWriter {
 public:
  void Varint(uint32_t number, uint64_t value);
  void Float(uint32_t number, float value);
  void Bytes(uint32_t number, std::string_view bytes);

  const std::string& bytes() const { return bytes_; }

 private:
  void AppendVarint(uint64_t value);

  std::string bytes_;
};

}  // namespace ternion
