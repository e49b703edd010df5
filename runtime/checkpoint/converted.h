#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/checkpoint/converted_manifest.h"
#include "runtime/model/weights.h"

namespace ternion {

// A folder that ConvertModel has made. Load reads the rank's own file alone, and refuses (kInvalidArgument) another grid than
// that of the folder. ReadFolderManifest's errors, and ReadModelConfig's.
absl::StatusOr<std::unique_ptr<WeightSource>> OpenConverted(const std::filesystem::path& folder);

// The manifest of a folder, with as many ranks as its grid has.
absl::StatusOr<ConvertedManifest> ReadFolderManifest(const std::filesystem::path& folder);

struct ConvertOptions {
  std::filesystem::path destination;  // a folder that is not there yet
  std::string name;                   // of the model
  int tp = 1;
  int pp = 1;
  int threads = 1;
  TernaryPacking packing = TernaryPacking::kCpu;
  // Kept beside the weights: name and content; config.json among them.
  std::vector<std::pair<std::string, std::string>> files;
};

struct ConvertReport {
  ConvertedManifest manifest;
  int64_t bytes = 0;       // of all ranks' files
  int64_t bytes_kept = 0;  // of those that an earlier run, which was interrupted, had finished
  int ranks_kept = 0;      // how many these are
};

// Whether a model can be converted so: kInvalidArgument (a grid or packing that does not fit), kAlreadyExists (the
// destination).
absl::Status CheckConversion(const ModelConfig& config, const ConvertOptions& options);

// Writes a converted folder, a rank after the other, in the folder DESTINATION.partial, which gets its name when all is there
// and on the disk. What an earlier run for the same source, grid and packing has finished is kept. Writes one part of a stage
// while it makes another; between them layers of half a gigabyte wait, or one. CheckConversion's errors; kResourceExhausted:
// too little room on the disk; kFailedPrecondition: another process converts there; the source's errors.
absl::StatusOr<ConvertReport> ConvertModel(WeightSource& source, const ConvertOptions& options,
                                           LoadProgress progress);

// Reads all of a converted folder and compares every SHA-256. kDataLoss names each file and tensor that is wrong.
absl::Status VerifyConverted(const std::filesystem::path& folder, LoadProgress progress);

}  // namespace ternion
