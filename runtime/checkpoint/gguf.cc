#include "runtime/checkpoint/gguf.h"

#include <algorithm>
#include <bit>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "kernels/status.h"
#include "runtime/checkpoint/gguf_tensors.h"

namespace ternion {
namespace {

constexpr std::string_view kMagic = "GGUF";
constexpr uint32_t kOldestVersion = 2;  // 1 has counts of 32 bits
constexpr uint32_t kNewestVersion = 3;
constexpr int64_t kDefaultAlignment = 32;
constexpr int64_t kLeastAlignment = 8;
constexpr int64_t kMostAlignment = 1 << 20;

absl::Status CheckVersion(uint32_t version, std::string_view where) {
  if (version >= kOldestVersion && version <= kNewestVersion) return absl::OkStatus();
  if (version != 0 && __builtin_bswap32(version) <= kNewestVersion) {
    return absl::UnimplementedError(absl::StrCat(
        ToAbsl(where), ": is big-endian; only little-endian GGUF files are read, so convert it first"));
  }
  return absl::UnimplementedError(absl::StrCat(ToAbsl(where), ": is GGUF version ", version, "; versions ",
                                               kOldestVersion, " and ", kNewestVersion, " are read"));
}

absl::Status ReadMagicAndVersion(GgufBytes& bytes, std::string_view where) {
  TERNION_ASSIGN_OR_RETURN(const auto magic, bytes.Take(kMagic.size(), 1));
  if (std::memcmp(magic.data(), kMagic.data(), kMagic.size()) != 0) {
    return absl::DataLossError(
        absl::StrCat(ToAbsl(where), ": is no GGUF file: it does not begin with \"GGUF\""));
  }
  TERNION_ASSIGN_OR_RETURN(const uint32_t version, bytes.Number<uint32_t>());
  return CheckVersion(version, where);
}

absl::StatusOr<uint64_t> ReadAlignment(const GgufMetadata& metadata) {
  constexpr char kKey[] = "general.alignment";
  const JsonFields fields = metadata.fields();
  if (!fields.Has(kKey)) return kDefaultAlignment;
  TERNION_ASSIGN_OR_RETURN(const int64_t alignment, fields.Int(kKey, kLeastAlignment, kMostAlignment));
  if (std::has_single_bit(static_cast<uint64_t>(alignment))) return alignment;
  return fields.Wrong(kKey, "it must be a power of two");
}

}  // namespace

absl::StatusOr<Gguf> Gguf::Parse(absl::Span<const std::byte> file, std::string_view where) {
  GgufBytes bytes(file, where);
  bytes.Enter("header");
  TERNION_RETURN_IF_ERROR(ReadMagicAndVersion(bytes, where));
  TERNION_ASSIGN_OR_RETURN(const uint64_t tensors, bytes.Number<uint64_t>());
  TERNION_ASSIGN_OR_RETURN(const uint64_t keys, bytes.Number<uint64_t>());
  TERNION_ASSIGN_OR_RETURN(GgufMetadata metadata, GgufMetadata::Read(bytes, keys, where));
  TERNION_ASSIGN_OR_RETURN(const uint64_t alignment, ReadAlignment(metadata));
  Gguf gguf(where, std::move(metadata));
  TERNION_ASSIGN_OR_RETURN(gguf.tensors_, ReadGgufTensors(bytes, tensors, alignment));
  return gguf;
}

const GgufTensor* Gguf::Find(std::string_view name) const {
  const auto found = std::lower_bound(tensors_.begin(), tensors_.end(), name,
                                      [](const GgufTensor& a, std::string_view b) { return a.name < b; });
  return found == tensors_.end() || found->name != name ? nullptr : &*found;
}

std::string Gguf::Where(const GgufTensor& tensor) const {
  return absl::StrCat(where_, ": tensor ", ToAbsl(tensor.name));
}

std::string GgufTensor::Form() const {
  return absl::StrCat(ToAbsl(type->name), " [", absl::StrJoin(shape(), ", "), "]");
}

absl::StatusOr<GgufFile> GgufFile::Open(const std::filesystem::path& path) {
  TERNION_ASSIGN_OR_RETURN(std::unique_ptr<MappedFile> mapped, MappedFile::Open(path));
  TERNION_ASSIGN_OR_RETURN(Gguf contents, Gguf::Parse(mapped->bytes(), path.string()));
  return GgufFile{std::move(mapped), std::move(contents)};
}

absl::StatusOr<std::string> GgufMetadataAlone(const GgufFile& file) {
  constexpr size_t kTensorCountAt = kMagic.size() + sizeof(uint32_t);
  GgufBytes bytes(file.mapped->bytes(), file.contents.where());
  TERNION_RETURN_IF_ERROR(bytes.Take(kTensorCountAt + sizeof(uint64_t), 1).status());
  TERNION_ASSIGN_OR_RETURN(const uint64_t keys, bytes.Number<uint64_t>());
  TERNION_RETURN_IF_ERROR(GgufMetadata::Read(bytes, keys, file.contents.where()).status());
  const auto front = bytes.Since(0);
  std::string text(reinterpret_cast<const char*>(front.data()), front.size());
  std::memset(text.data() + kTensorCountAt, 0, sizeof(uint64_t));
  return text;
}

}  // namespace ternion
