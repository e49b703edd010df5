#include "runtime/checkpoint/tensor_index.h"

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "kernels/status.h"
#include "runtime/checkpoint/json.h"

namespace ternion {
namespace {

constexpr size_t kMostIndexBytes = 100'000'000;
constexpr size_t kLeastIndexBytes = 128 << 10;
constexpr char kSingleFile[] = "model.safetensors";
constexpr char kIndexFile[] = "model.safetensors.index.json";

// A name with a folder in it could lead anywhere on the disk.
bool IsPlainFileName(std::string_view name) {
  constexpr size_t kMostNameBytes = 255;
  return !name.empty() && name != "." && name != ".." && name.size() <= kMostNameBytes &&
         std::none_of(name.begin(), name.end(),
                      [](unsigned char c) { return c == '/' || c < ' ' || c == 0x7f; });
}

// An index is small beside the shards that it lists.
size_t ShardBytes(const std::filesystem::path& folder) {
  std::error_code error;
  size_t bytes = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    if (entry.path().extension() != ".safetensors" || !entry.is_regular_file(error)) continue;
    const uintmax_t size = entry.file_size(error);
    if (!error) bytes += static_cast<size_t>(size);
  }
  return bytes;
}

}  // namespace

absl::StatusOr<TensorIndex> TensorIndex::Open(const std::filesystem::path& folder) {
  TensorIndex index;
  index.folder_ = folder;
  std::error_code ignored;
  if (std::filesystem::exists(folder / kSingleFile, ignored)) {
    TERNION_RETURN_IF_ERROR(index.AddFile(folder / kSingleFile));
  } else if (std::filesystem::exists(folder / kIndexFile, ignored)) {
    TERNION_RETURN_IF_ERROR(index.AddShards(folder / kIndexFile));
  } else {
    return absl::NotFoundError(
        absl::StrCat(folder.string(), ": has neither ", kSingleFile, " nor ", kIndexFile));
  }
  return index;
}

const FileTensor* TensorIndex::Find(std::string_view name) const {
  const auto found = tensors_.find(name);
  return found == tensors_.end() ? nullptr : found->second;
}

absl::StatusOr<const FileTensor*> TensorIndex::Get(std::string_view name) const {
  if (const FileTensor* tensor = Find(name)) return tensor;
  const std::string place = files_.size() == 1 ? files_.begin()->second->path().string() : folder_.string();
  return absl::NotFoundError(absl::StrCat(place, ": has no tensor ", ToAbsl(name)));
}

void TensorIndex::ReleasePages() const {
  for (const auto& [name, file] : files_) file->ReleasePages();
}

absl::Status TensorIndex::AddFile(const std::filesystem::path& path) {
  TERNION_ASSIGN_OR_RETURN(auto file, SafetensorsFile::Open(path));
  for (const FileTensor& tensor : file->tensors()) tensors_.emplace(tensor.name, &tensor);
  files_.emplace(path.filename().string(), std::move(file));
  return absl::OkStatus();
}

absl::Status TensorIndex::AddShards(const std::filesystem::path& index_file) {
  const std::string where = index_file.string();
  const size_t most_bytes = std::max(kLeastIndexBytes, ShardBytes(folder_));
  TERNION_ASSIGN_OR_RETURN(const std::string text,
                           ReadTextFile(index_file, std::min(kMostIndexBytes, most_bytes)));
  TERNION_ASSIGN_OR_RETURN(const auto document,
                           ParseJson(text, where, absl::StatusCode::kInvalidArgument, most_bytes));
  TERNION_ASSIGN_OR_RETURN(const JsonFields fields, JsonFields::Of(document, where));
  TERNION_RETURN_IF_ERROR(fields.Object("weight_map").status());
  for (const auto& [name, file_name] : fields.Find("weight_map")->items()) {
    if (!file_name.is_string() || !IsPlainFileName(file_name.get_ref<const std::string&>())) {
      return absl::InvalidArgumentError(absl::StrCat(where, ": weight_map: ", Shown(name), " is in ",
                                                     Shown(file_name.dump()),
                                                     "; it must be the name of a file in the same folder"));
    }
    TERNION_ASSIGN_OR_RETURN(const SafetensorsFile* shard, Shard(file_name.get<std::string>(), index_file));
    const FileTensor* tensor = shard->Find(name);
    if (tensor == nullptr) {
      return absl::NotFoundError(absl::StrCat(shard->path().string(), ": has no tensor ", Shown(name),
                                              ", which ", where, " places there"));
    }
    tensors_.emplace(name, tensor);
  }
  return absl::OkStatus();
}

absl::StatusOr<const SafetensorsFile*> TensorIndex::Shard(const std::string& file_name,
                                                          const std::filesystem::path& index_file) {
  const auto known = files_.find(file_name);
  if (known != files_.end()) return known->second.get();
  auto file = SafetensorsFile::Open(folder_ / file_name);
  if (!file.ok()) {
    return absl::Status(file.status().code(), absl::StrCat(file.status().message(), " (a shard that ",
                                                           index_file.string(), " lists)"));
  }
  return files_.emplace(file_name, *std::move(file)).first->second.get();
}

}  // namespace ternion
