#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/checkpoint/safetensors.h"

namespace ternion {

// The tensors of a Hugging Face folder by name: those of model.safetensors, or of the shards that
// model.safetensors.index.json lists.
class TensorIndex {
 public:
  // kNotFound: neither file, a shard that is missing, or a listed tensor that its shard lacks.
  // kInvalidArgument: a malformed index, or a shard's name that is more than a file name. kDataLoss: a
  // malformed shard.
  static absl::StatusOr<TensorIndex> Open(const std::filesystem::path& folder);

  // Null when there is none.
  const FileTensor* Find(std::string_view name) const;
  // As Find; kNotFound names the folder and the tensor.
  absl::StatusOr<const FileTensor*> Get(std::string_view name) const;
  // Takes the files' pages out of this process's memory, such as those that the kernel mapped around what was
  // read.
  void ReleasePages() const;
  const std::map<std::string, const FileTensor*, std::less<>>& tensors() const { return tensors_; }

 private:
  absl::Status AddFile(const std::filesystem::path& path);
  absl::Status AddShards(const std::filesystem::path& index_file);
  absl::StatusOr<const SafetensorsFile*> Shard(const std::string& file_name,
                                               const std::filesystem::path& index_file);

  std::filesystem::path folder_;
  std::map<std::string, std::unique_ptr<SafetensorsFile>> files_;  // by file name
  std::map<std::string, const FileTensor*, std::less<>> tensors_;
};

}  // namespace ternion
