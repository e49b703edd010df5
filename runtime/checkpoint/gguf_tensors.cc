#include "runtime/checkpoint/gguf_tensors.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "kernels/status.h"

namespace ternion {
namespace {

constexpr uint64_t kMostNameBytes = 64;
constexpr uint64_t kLeastEntryBytes = 25;  // a name of one byte with its length, no dimension, type, offset

// Rounded up to a multiple of a power of two; UINT64_MAX when that does not fit.
uint64_t Align(uint64_t at, uint64_t alignment) {
  return at > UINT64_MAX - alignment ? UINT64_MAX : (at + alignment - 1) & ~(alignment - 1);
}

std::string InPlace(const GgufTensor& tensor) { return absl::StrCat("tensor ", ToAbsl(tensor.name)); }

absl::Status ReadSides(GgufBytes& bytes, GgufTensor& tensor) {
  TERNION_ASSIGN_OR_RETURN(const uint32_t dimensions, bytes.Number<uint32_t>());
  if (dimensions > GgufTensor::kMostDimensions) {
    return bytes.Malformed(
        absl::StrCat("has ", dimensions, " dimensions; at most ", GgufTensor::kMostDimensions, " are known"));
  }
  tensor.dimensions = static_cast<int>(dimensions);
  int64_t values = 1;
  for (int i = tensor.dimensions - 1; i >= 0; --i) {
    TERNION_ASSIGN_OR_RETURN(tensor.sides[i], bytes.Number<int64_t>());
    if (tensor.sides[i] < 1) {
      return bytes.Malformed(absl::StrCat("has a side of ", tensor.sides[i], "; it must be at least 1"));
    }
    if (__builtin_mul_overflow(values, tensor.sides[i], &values)) {
      return bytes.Malformed("its number of values overflows 64 bits");
    }
  }
  return absl::OkStatus();
}

// Reads the type and gives the bytes of the whole tensor.
absl::StatusOr<uint64_t> ReadType(GgufBytes& bytes, GgufTensor& tensor) {
  TERNION_ASSIGN_OR_RETURN(const uint32_t number, bytes.Number<uint32_t>());
  tensor.type = FindGgmlType(number);
  if (tensor.type == nullptr) {
    return bytes.Malformed(absl::StrCat("has the type ", number, ", which is not known here"));
  }
  int64_t blocks = 1;
  for (const int64_t side : tensor.shape()) blocks *= side;
  const int64_t row = tensor.dimensions == 0 ? 1 : tensor.sides[tensor.dimensions - 1];
  if (row % tensor.type->values != 0) {
    return bytes.Malformed(absl::StrCat("is ", tensor.Form(), "; rows of ", ToAbsl(tensor.type->name),
                                        " are a multiple of ", tensor.type->values));
  }
  uint64_t size = 0;
  if (__builtin_mul_overflow(blocks / tensor.type->values, tensor.type->bytes, &size) ||
      __builtin_add_overflow(size, tensor.type->tail_bytes, &size)) {
    return bytes.Malformed(absl::StrCat("is ", tensor.Form(), ", whose bytes overflow 64 bits"));
  }
  return size;
}

class TensorList {
 public:
  TensorList(GgufBytes& bytes, uint64_t alignment) : bytes_(bytes), alignment_(alignment) {}

  absl::StatusOr<std::vector<GgufTensor>> Read(uint64_t count) {
    if (count > bytes_.left() / kLeastEntryBytes) {
      return bytes_.Malformed(absl::StrCat("the header announces ", count, " tensors, but the file has only ",
                                           bytes_.left(), " bytes left"));
    }
    tensors_.reserve(count);
    sizes_.reserve(count);
    for (uint64_t i = 0; i < count; ++i) {
      bytes_.Enter(absl::StrCat("tensor number ", i));
      TERNION_RETURN_IF_ERROR(ReadEntry());
    }
    TERNION_RETURN_IF_ERROR(PlaceData());
    TERNION_RETURN_IF_ERROR(SortByName());
    return std::move(tensors_);
  }

 private:
  absl::Status ReadEntry() {
    GgufTensor tensor;
    TERNION_ASSIGN_OR_RETURN(tensor.name, bytes_.Name(kMostNameBytes));
    bytes_.Enter(InPlace(tensor));
    TERNION_RETURN_IF_ERROR(ReadSides(bytes_, tensor));
    TERNION_ASSIGN_OR_RETURN(const uint64_t size, ReadType(bytes_, tensor));
    TERNION_ASSIGN_OR_RETURN(const uint64_t offset, bytes_.Number<uint64_t>());
    if (offset != next_offset_) {
      return bytes_.Malformed(absl::StrCat("its data begins at ", offset,
                                           ", but that of the tensors before it ends, ", "aligned to ",
                                           alignment_, ", at ", next_offset_));
    }
    if (__builtin_add_overflow(next_offset_, size, &next_offset_)) {
      return bytes_.Malformed(absl::StrCat("is ", tensor.Form(), ", whose bytes end beyond 64 bits"));
    }
    next_offset_ = Align(next_offset_, alignment_);
    tensors_.push_back(tensor);
    sizes_.push_back(size);
    return absl::OkStatus();
  }

  // The data begins at the next aligned byte of the file; so does every tensor's.
  absl::Status PlaceData() {
    for (size_t i = 0; i < tensors_.size(); ++i) {
      bytes_.Enter(InPlace(tensors_[i]));
      TERNION_RETURN_IF_ERROR(bytes_.Take(Align(bytes_.at(), alignment_) - bytes_.at(), 1).status());
      TERNION_ASSIGN_OR_RETURN(tensors_[i].data, bytes_.Take(sizes_[i], 1));
    }
    if (bytes_.left() <= Align(bytes_.at(), alignment_) - bytes_.at()) return absl::OkStatus();
    bytes_.Enter("data");
    return bytes_.Malformed(
        absl::StrCat("ends at byte ", bytes_.at(), ", but the file has ", bytes_.left(), " more"));
  }

  absl::Status SortByName() {
    std::sort(tensors_.begin(), tensors_.end(),
              [](const GgufTensor& a, const GgufTensor& b) { return a.name < b.name; });
    const auto twin =
        std::adjacent_find(tensors_.begin(), tensors_.end(),
                           [](const GgufTensor& a, const GgufTensor& b) { return a.name == b.name; });
    if (twin == tensors_.end()) return absl::OkStatus();
    bytes_.Enter(InPlace(*twin));
    return bytes_.Malformed("is there twice");
  }

  GgufBytes& bytes_;
  const uint64_t alignment_;
  uint64_t next_offset_ = 0;  // in the data
  std::vector<GgufTensor> tensors_;
  std::vector<uint64_t> sizes_;  // bytes
};

}  // namespace

absl::StatusOr<std::vector<GgufTensor>> ReadGgufTensors(GgufBytes& bytes, uint64_t count,
                                                        uint64_t alignment) {
  return TensorList(bytes, alignment).Read(count);
}

}  // namespace ternion
