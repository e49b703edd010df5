#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace ternion {

static_assert(std::endian::native == std::endian::little, "GGUF files are read as they lie in memory");

// Reads the bytes of a GGUF file from the front, never beyond their end. Errors are kDataLoss and say
// "FILE: PLACE: what is wrong".
class GgufBytes {
 public:
  GgufBytes(absl::Span<const std::byte> bytes, std::string_view where) : bytes_(bytes), where_(where) {}

  // What is read from here on, for errors: "key llama.block_count".
  void Enter(std::string place) { place_ = std::move(place); }

  uint64_t at() const { return at_; }
  uint64_t left() const { return bytes_.size() - at_; }

  template <typename T>
  absl::StatusOr<T> Number() {
    if (sizeof(T) > left()) return CutShort();
    T value;
    std::memcpy(&value, bytes_.data() + at_, sizeof(T));
    at_ += sizeof(T);
    return value;
  }

  // `count` elements of `size` bytes each. No size is multiplied before the count is known to fit.
  absl::StatusOr<absl::Span<const std::byte>> Take(uint64_t count, uint64_t size);
  // What was read since `begin`, an earlier at().
  absl::Span<const std::byte> Since(uint64_t begin) const { return bytes_.subspan(begin, at_ - begin); }
  // A length of 64 bits, then that many bytes.
  absl::StatusOr<std::string_view> String();
  // A string of 1 to `most` printable ASCII characters, so that it can be shown.
  absl::StatusOr<std::string_view> Name(uint64_t most);

  absl::Status Malformed(std::string_view what) const;

 private:
  absl::Status CutShort() const;

  absl::Span<const std::byte> bytes_;
  std::string where_;
  std::string place_;
  uint64_t at_ = 0;
};

}  // namespace ternion
