#include "launcher/inspect_tensors.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "kernels/status.h"
#include "launcher/model.h"
#include "runtime/checkpoint/converted.h"
#include "runtime/checkpoint/gguf.h"
#include "runtime/checkpoint/tensor_index.h"

namespace ternion {
namespace {

std::vector<TensorEntry> TensorsOf(const ConvertedManifest& manifest) {
  std::vector<TensorEntry> entries;
  for (const RankFile& rank : manifest.ranks) {
    for (const WrittenTensor& tensor : rank.tensors) {
      auto bytes = static_cast<int64_t>(DTypeBytes(tensor.dtype));
      for (const int64_t side : tensor.shape) bytes *= side;
      entries.push_back(
          {rank.name, tensor.name,
           absl::StrCat(ToAbsl(DTypeName(tensor.dtype)), " [", absl::StrJoin(tensor.shape, ", "), "]"),
           bytes});
    }
  }
  return entries;
}

std::vector<TensorEntry> TensorsOf(const GgufFile& file) {
  std::vector<TensorEntry> entries;
  for (const GgufTensor& tensor : file.contents.tensors()) {
    entries.push_back({file.mapped->path().filename().string(), std::string(tensor.name), tensor.Form(),
                       static_cast<int64_t>(tensor.data.size())});
  }
  return entries;
}

std::vector<TensorEntry> TensorsOf(const TensorIndex& index) {
  std::vector<TensorEntry> entries;
  for (const auto& [name, tensor] : index.tensors()) {
    entries.push_back({tensor->file->path().filename().string(), name, tensor->Form(),
                       static_cast<int64_t>(tensor->data.size())});
  }
  return entries;
}

}  // namespace

absl::StatusOr<std::vector<TensorEntry>> ListTensors(const JobOptions& options) {
  if (!options.synthetic.empty()) return std::vector<TensorEntry>();
  if (IsConverted(options.model)) {
    TERNION_ASSIGN_OR_RETURN(const ConvertedManifest manifest, ReadFolderManifest(options.model));
    return TensorsOf(manifest);
  }
  TERNION_ASSIGN_OR_RETURN(const auto gguf, GgufOf(options.model));
  if (gguf.has_value()) {
    TERNION_ASSIGN_OR_RETURN(const GgufFile file, GgufFile::Open(*gguf));
    return TensorsOf(file);
  }
  TERNION_ASSIGN_OR_RETURN(const TensorIndex index, TensorIndex::Open(options.model));
  return TensorsOf(index);
}

}  // namespace ternion
