#include "runtime/checkpoint/safetensors.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "kernels/status.h"
#include "runtime/checkpoint/json.h"

namespace ternion {
namespace {

using nlohmann::json;

constexpr uint64_t kLengthBytes = 8;
constexpr uint64_t kMostHeaderBytes = 100'000'000;
constexpr size_t kLeastJsonBytes = 128 << 10;  // of memory that a header may take, however small the file is
constexpr size_t kMostNameBytes = 500;
constexpr size_t kMostSides = 8;

struct DTypeFacts {
  DType dtype;
  std::string_view name;
  size_t bytes;
};
constexpr std::array<DTypeFacts, 7> kDTypes = {{{DType::kF32, "F32", 4},
                                                {DType::kF16, "F16", 2},
                                                {DType::kBF16, "BF16", 2},
                                                {DType::kU8, "U8", 1},
                                                {DType::kI8, "I8", 1},
                                                {DType::kI32, "I32", 4},
                                                {DType::kI64, "I64", 8}}};

const DTypeFacts& Facts(DType dtype) { return kDTypes[static_cast<size_t>(dtype)]; }

absl::Status Malformed(const FileTensor& tensor, std::string_view what) {
  return absl::DataLossError(absl::StrCat(tensor.Where(), ": ", ToAbsl(what)));
}

absl::Status CheckFields(const json& entry, const FileTensor& tensor) {
  if (!entry.is_object()) return Malformed(tensor, "its entry in the header is not an object");
  for (const char* field : {"dtype", "shape", "data_offsets"}) {
    if (!entry.contains(field)) return Malformed(tensor, absl::StrCat("its ", field, " is missing"));
  }
  if (entry.size() != 3) return Malformed(tensor, "it has a field beside dtype, shape and data_offsets");
  return absl::OkStatus();
}

absl::Status ReadDType(const json& dtype, FileTensor& tensor) {
  for (const DTypeFacts& facts : kDTypes) {
    if (dtype.is_string() && dtype.get_ref<const std::string&>() == facts.name) {
      tensor.dtype = facts.dtype;
      return absl::OkStatus();
    }
  }
  const std::string shown = dtype.is_string() ? Shown(dtype.get_ref<const std::string&>()) : "not a string";
  return Malformed(tensor,
                   absl::StrCat("its dtype is ", shown, "; F32, F16, BF16, U8, I8, I32 and I64 are read"));
}

// Fills the shape and gives the number of bytes it takes.
absl::StatusOr<uint64_t> ReadShape(const json& shape, FileTensor& tensor) {
  if (!shape.is_array()) return Malformed(tensor, "its shape is not a list");
  if (shape.size() > kMostSides) {
    return Malformed(
        tensor, absl::StrCat("its shape has ", shape.size(), " sides; at most ", kMostSides, " are read"));
  }
  uint64_t bytes = DTypeBytes(tensor.dtype);
  for (const json& side : shape) {
    if (!side.is_number_unsigned()) return Malformed(tensor, "its shape holds something other than counts");
    const auto count = side.get<uint64_t>();
    if (__builtin_mul_overflow(bytes, count, &bytes) || count > INT64_MAX) {
      return Malformed(tensor, "its shape overflows 64 bits");
    }
    tensor.shape.push_back(static_cast<int64_t>(count));
  }
  return bytes;
}

// [begin, end) of the tensor in the data, checked against what its shape takes and what the file has.
absl::StatusOr<std::pair<uint64_t, uint64_t>> ReadOffsets(const json& offsets, uint64_t bytes,
                                                          uint64_t data_bytes, const FileTensor& tensor) {
  if (!offsets.is_array() || offsets.size() != 2 || !offsets[0].is_number_unsigned() ||
      !offsets[1].is_number_unsigned()) {
    return Malformed(tensor, "its data_offsets are not two counts");
  }
  const auto begin = offsets[0].get<uint64_t>();
  const auto end = offsets[1].get<uint64_t>();
  if (begin > end || end > data_bytes) {
    return Malformed(tensor,
                     absl::StrCat("its data_offsets [", begin, ", ", end, "] lie outside the ", data_bytes,
                                  " bytes of data: the file is cut short or its header is wrong"));
  }
  if (end - begin != bytes) {
    return Malformed(tensor, absl::StrCat("its data_offsets hold ", end - begin, " bytes, but ",
                                          tensor.Form(), " takes ", bytes));
  }
  return std::make_pair(begin, end);
}

absl::StatusOr<FileTensor> ReadEntry(const std::string& name, const json& entry,
                                     absl::Span<const std::byte> data, const MappedFile* file) {
  FileTensor tensor;
  tensor.name = name;
  tensor.file = file;
  TERNION_RETURN_IF_ERROR(CheckFields(entry, tensor));
  TERNION_RETURN_IF_ERROR(ReadDType(entry["dtype"], tensor));
  TERNION_ASSIGN_OR_RETURN(const uint64_t bytes, ReadShape(entry["shape"], tensor));
  TERNION_ASSIGN_OR_RETURN(const auto range, ReadOffsets(entry["data_offsets"], bytes, data.size(), tensor));
  tensor.data = data.subspan(range.first, range.second - range.first);
  return tensor;
}

// Errors show names, and a header can hold more of them than its file is long.
absl::Status CheckHeader(std::string_view text, uint64_t file_bytes, std::string_view where) {
  if (text.empty() || text.front() != '{') {
    return absl::DataLossError(absl::StrCat(ToAbsl(where), ": its header is not a JSON object"));
  }
  if (text.size() <= std::max<uint64_t>(kLeastJsonBytes, file_bytes / 2)) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat(ToAbsl(where), ": its header takes ", text.size(), " of ",
                                          file_bytes, " bytes; the tensors' data must be the larger part"));
}

absl::Status CheckName(std::string_view name, std::string_view where) {
  const bool printable =
      std::none_of(name.begin(), name.end(), [](unsigned char c) { return c < ' ' || c == 0x7f; });
  if (printable && name.size() <= kMostNameBytes) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat(ToAbsl(where), ": has a tensor ", Shown(name),
                                          "; a name has at most ", kMostNameBytes,
                                          " bytes and no control characters"));
}

// Every byte of the data belongs to exactly one tensor.
absl::Status CheckAdjoining(const std::vector<FileTensor>& tensors, absl::Span<const std::byte> data,
                            const std::filesystem::path& path) {
  std::vector<const FileTensor*> ordered;
  for (const FileTensor& tensor : tensors) ordered.push_back(&tensor);
  std::sort(ordered.begin(), ordered.end(), [](const FileTensor* a, const FileTensor* b) {
    return std::make_pair(a->data.data(), a->data.size()) < std::make_pair(b->data.data(), b->data.size());
  });
  const std::byte* next = data.data();
  for (const FileTensor* tensor : ordered) {
    if (tensor->data.data() != next) {
      return Malformed(*tensor, absl::StrCat("its bytes begin at ", tensor->data.data() - data.data(),
                                             ", but the tensors before it end at ", next - data.data()));
    }
    next += tensor->data.size();
  }
  if (next == data.data() + data.size()) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat(path.string(), ": has ", data.size(),
                                          " bytes of data, but its tensors end at ", next - data.data()));
}

}  // namespace

std::string_view DTypeName(DType dtype) { return Facts(dtype).name; }
size_t DTypeBytes(DType dtype) { return Facts(dtype).bytes; }

std::string FileTensor::Where() const { return absl::StrCat(file->path().string(), ": tensor ", name); }

std::string FileTensor::Form() const {
  return absl::StrCat(ToAbsl(DTypeName(dtype)), " [", absl::StrJoin(shape, ", "), "]");
}

absl::StatusOr<std::unique_ptr<SafetensorsFile>> SafetensorsFile::Open(const std::filesystem::path& path) {
  TERNION_ASSIGN_OR_RETURN(std::unique_ptr<MappedFile> file, MappedFile::Open(path));
  std::unique_ptr<SafetensorsFile> opened(new SafetensorsFile(std::move(file)));
  TERNION_RETURN_IF_ERROR(opened->ReadHeader());
  return opened;
}

const FileTensor* SafetensorsFile::Find(std::string_view name) const {
  const auto found = std::lower_bound(tensors_.begin(), tensors_.end(), name,
                                      [](const FileTensor& a, std::string_view b) { return a.name < b; });
  return found == tensors_.end() || found->name != name ? nullptr : &*found;
}

absl::Status SafetensorsFile::ReadHeader() {
  const std::string where = path().string();
  const absl::Span<const std::byte> bytes = file_->bytes();
  if (bytes.size() < kLengthBytes) {
    return absl::DataLossError(
        absl::StrCat(where, ": has ", bytes.size(), " bytes; a safetensors file has at least 8"));
  }
  uint64_t length = 0;
  std::memcpy(&length, bytes.data(), kLengthBytes);
  if (length > kMostHeaderBytes || length > bytes.size() - kLengthBytes) {
    return absl::DataLossError(absl::StrCat(where, ": gives its header ", length,
                                            " bytes; it may have at most ",
                                            std::min(kMostHeaderBytes, bytes.size() - kLengthBytes)));
  }
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()) + kLengthBytes, length);
  TERNION_RETURN_IF_ERROR(CheckHeader(text, bytes.size(), where));
  TERNION_ASSIGN_OR_RETURN(const json header, ParseJson(text, where + ": header", absl::StatusCode::kDataLoss,
                                                        std::max(kLeastJsonBytes, bytes.size())));
  const absl::Span<const std::byte> data = bytes.subspan(kLengthBytes + length);
  tensors_.reserve(header.size());
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") continue;
    TERNION_RETURN_IF_ERROR(CheckName(name, where));
    TERNION_ASSIGN_OR_RETURN(FileTensor tensor, ReadEntry(name, entry, data, file_.get()));
    tensors_.push_back(std::move(tensor));
  }
  return CheckAdjoining(tensors_, data, path());
}

}  // namespace ternion
