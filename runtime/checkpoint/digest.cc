#include "runtime/checkpoint/digest.h"

#include <xxhash.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "kernels/status.h"

namespace ternion {
namespace {

constexpr size_t kSamples = 4;
constexpr size_t kSampleBytes = 64;

// Pieces of the tensor's bytes, evenly spread, the first and the last among them.
void AppendSamples(const FileTensor& tensor, std::string& text) {
  const size_t bytes = tensor.data.size();
  const size_t piece = std::min(kSampleBytes, bytes);
  for (size_t i = 0; i < kSamples; ++i) {
    const auto sample = tensor.data.subspan((bytes - piece) * i / (kSamples - 1), piece);
    text.append(reinterpret_cast<const char*>(sample.data()), sample.size());
  }
  tensor.file->Release(tensor.data);
}

}  // namespace

std::string HexDigest(std::string_view text) {
  return absl::StrFormat("%016x", XXH64(text.data(), text.size(), 0));
}

std::string CheckpointDigest(const ModelConfig& config, const TensorIndex& index) {
  std::string text = absl::StrCat(config.text, "\neos ", absl::StrJoin(config.eos_ids, ","), "\n");
  for (const auto& [name, tensor] : index.tensors()) {
    absl::StrAppend(&text, tensor->file->path().filename().string(), " ", name, " ", tensor->Form(), " ",
                    tensor->data.data() - tensor->file->bytes().data(), "\n");
    AppendSamples(*tensor, text);
  }
  return HexDigest(text);
}

}  // namespace ternion
