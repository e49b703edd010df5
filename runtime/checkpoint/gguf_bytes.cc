#include "runtime/checkpoint/gguf_bytes.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "kernels/status.h"

namespace ternion {

absl::StatusOr<absl::Span<const std::byte>> GgufBytes::Take(uint64_t count, uint64_t size) {
  if (count > left() / size) {
    const std::string unit = size == 1 ? " bytes" : absl::StrCat(" elements of ", size, " bytes");
    return Malformed(absl::StrCat("has ", count, unit, ", but the file has only ", left(), " bytes left"));
  }
  const absl::Span<const std::byte> part = bytes_.subspan(at_, count * size);
  at_ += part.size();
  return part;
}

absl::StatusOr<std::string_view> GgufBytes::String() {
  const absl::StatusOr<uint64_t> length = Number<uint64_t>();
  if (!length.ok()) return length.status();
  if (*length > left()) {
    return Malformed(
        absl::StrCat("has a string of ", *length, " bytes, but the file has only ", left(), " bytes left"));
  }
  const std::string_view text(reinterpret_cast<const char*>(bytes_.data()) + at_, *length);
  at_ += *length;
  return text;
}

absl::StatusOr<std::string_view> GgufBytes::Name(uint64_t most) {
  const absl::StatusOr<std::string_view> name = String();
  if (!name.ok()) return name.status();
  if (name->empty() || name->size() > most) {
    return Malformed(absl::StrCat("its name has ", name->size(), " bytes; it must have 1 to ", most));
  }
  if (std::all_of(name->begin(), name->end(), [](char c) { return c > ' ' && c <= '~'; })) return name;
  return Malformed("its name holds a byte that is not printable ASCII");
}

absl::Status GgufBytes::Malformed(std::string_view what) const {
  return absl::DataLossError(absl::StrCat(where_, ": ", place_, ": ", ToAbsl(what)));
}

absl::Status GgufBytes::CutShort() const {
  return Malformed(absl::StrCat("the file is cut short: it ends here, at byte ", bytes_.size()));
}

}  // namespace ternion
