#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/checkpoint/safetensors_writer.h"
#include "runtime/model/config.h"

namespace ternion {

inline constexpr char kManifestFile[] = "ternion.json";

// How ternary matrices lie in a converted folder.
enum class TernaryPacking : uint8_t {
  kCpu,        // as the CPU backend's kernels read them, 2 bits a weight
  kFiveTrits,  // by rows, five weights a byte; packed when they are loaded
};
std::string_view PackingName(TernaryPacking packing);  // "cpu", "five-trits"

// What linear layers multiply, which a config.json does not always tell.
struct WeightsFormat {
  WeightKind kind = WeightKind::kTernary;
  UniformFormat uniform;                   // kUniform, as ModelConfig has it
  int64_t row_scales = 1;                  // likewise
  DenseType dense = DenseType::kBFloat16;  // kDense

  bool operator==(const WeightsFormat&) const = default;
};
WeightsFormat FormatOf(const ModelConfig& config);

// What a rank's file holds.
struct RankFile {
  std::string name;  // "rank-3-of-8.safetensors"
  int64_t bytes = 0;
  std::string
      samples;  // XXH64 of a sample of every tensor's bytes (AppendSamples), in the order of `tensors`
  std::vector<WrittenTensor> tensors;

  bool operator==(const RankFile&) const = default;
};

// A file that was kept as it is: config.json, the tokenizer.
struct KeptFile {
  std::string name;
  int64_t bytes = 0;
  std::string sha256;

  bool operator==(const KeptFile&) const = default;
};

// ternion.json of a converted folder (docs/numerics.md, Converted folders).
struct ConvertedManifest {
  TernaryPacking packing = TernaryPacking::kCpu;
  std::string source;         // the model's name
  std::string source_digest;  // WeightSource::Digest
  int tp = 1;
  int pp = 1;
  WeightsFormat weights;
  std::vector<RankFile> ranks;  // of all tp * pp
  std::vector<KeptFile> files;

  // SHA-256 of all of the above, in JSON.
  std::string Digest() const;
  std::string ToJson() const;
  // `where` names the text in errors. kInvalidArgument: malformed; kUnimplemented: another version; kDataLoss: its digest is
  // not that of what it says.
  static absl::StatusOr<ConvertedManifest> Parse(std::string_view text, std::string_view where);
  static absl::StatusOr<ConvertedManifest> Read(const std::filesystem::path& file);

  bool operator==(const ConvertedManifest&) const = default;
};

// Is there a ternion.json?
bool IsConverted(const std::filesystem::path& folder);
std::string RankFileName(int rank, int ranks);

}  // namespace ternion
