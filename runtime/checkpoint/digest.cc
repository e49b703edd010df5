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

}  // namespace

std::string HexDigest(std::string_view text) {
  return absl::StrFormat("%016x", XXH64(text.data(), text.size(), 0));
}

void AppendSamples(absl::Span<const std::byte> data, std::string& text) {
  const size_t piece = std::min(kSampleBytes, data.size());
  for (size_t i = 0; i < kSamples; ++i) {
    const auto sample = data.subspan((data.size() - piece) * i / (kSamples - 1), piece);
    text.append(reinterpret_cast<const char*>(sample.data()), sample.size());
  }
}

std::string CheckpointDigest(const ModelConfig& config, const TensorIndex& index) {
  std::string text = absl::StrCat(config.text, "\neos ", absl::StrJoin(config.eos_ids, ","), "\n");
  for (const auto& [name, tensor] : index.tensors()) {
    absl::StrAppend(&text, tensor->file->path().filename().string(), " ", name, " ", tensor->Form(), " ",
                    tensor->data.data() - tensor->file->bytes().data(), "\n");
    AppendSamples(tensor->data, text);
    tensor->file->Release(tensor->data);
  }
  return HexDigest(text);
}

}  // namespace ternion
