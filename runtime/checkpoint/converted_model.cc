#include <algorithm>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "kernels/status.h"
#include "runtime/checkpoint/converted.h"
#include "runtime/checkpoint/converted_rank.h"
#include "runtime/checkpoint/digest.h"
#include "runtime/checkpoint/sha256.h"

namespace ternion {
namespace {

class ConvertedModel final : public WeightSource {
 public:
  ConvertedModel(std::filesystem::path folder, ConvertedManifest manifest, ModelConfig config)
      : folder_(std::move(folder)), manifest_(std::move(manifest)), config_(std::move(config)) {}

  const ModelConfig& config() const override { return config_; }

  absl::StatusOr<StageWeights> LoadParts(const ProcessGrid& grid, Backend& backend, LoadProgress progress,
                                         PartTaker taker) override {
    TERNION_RETURN_IF_ERROR(CheckGrid(grid));
    TERNION_RETURN_IF_ERROR(CheckSharding(config_.shape, grid.tp, grid.pp));
    const RankFile& rank = manifest_.ranks[static_cast<size_t>(grid.rank)];
    TERNION_ASSIGN_OR_RETURN(const auto file, OpenRankFile(folder_ / rank.name, rank));
    RankReader reader(*file, manifest_.packing, backend, progress);
    StageWalk walk(config_, grid, reader);
    auto weights = Walk(walk, taker);
    file->ReleasePages();
    return weights;
  }

  // The manifest has the digests of all ranks' files, which no rank reads whole.
  std::string Digest() const override {
    return HexDigest(absl::StrCat("converted\n", manifest_.Digest(), "\n", config_.text, "\neos ",
                                  absl::StrJoin(config_.eos_ids, ",")));
  }

 private:
  absl::Status CheckGrid(const ProcessGrid& grid) const {
    if (grid.tp == manifest_.tp && grid.pp == manifest_.pp) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat(folder_.string(), ": was converted for tp ", manifest_.tp,
                                                   ", pp ", manifest_.pp, ", not for tp ", grid.tp, ", pp ",
                                                   grid.pp, "; start it so, or convert its source again"));
  }

  absl::StatusOr<StageWeights> Walk(StageWalk& walk, PartTaker taker) const {
    StageWeights weights;
    weights.shard = walk.shard();
    weights.layer_range = walk.layers();
    if (walk.has_embedding()) {
      TERNION_RETURN_IF_ERROR(walk.Embedding(weights.embedding));
      TERNION_RETURN_IF_ERROR(taker(weights));
    }
    for (int64_t index = walk.layers().begin; index < walk.layers().end; ++index) {
      if (!config_.floats()) {
        TERNION_RETURN_IF_ERROR(walk.Layer(index, weights.layers.emplace_back()));
      } else {
        TERNION_RETURN_IF_ERROR(walk.Layer(index, weights.float_layers.emplace_back()));
      }
      TERNION_RETURN_IF_ERROR(taker(weights));
    }
    if (walk.has_final_norm()) TERNION_RETURN_IF_ERROR(walk.FinalNorm(weights.final_norm));
    if (walk.has_head()) TERNION_RETURN_IF_ERROR(walk.Head(weights.head));
    TERNION_RETURN_IF_ERROR(taker(weights));
    return weights;
  }

  const std::filesystem::path folder_;
  const ConvertedManifest manifest_;
  const ModelConfig config_;
};

// The source's tensors had told what its config.json does not.
absl::Status CompleteConfig(const std::filesystem::path& folder, const WeightsFormat& weights,
                            ModelConfig& config) {
  if (config.floats() != (weights.kind != WeightKind::kTernary)) {
    return absl::InvalidArgumentError(absl::StrCat(
        (folder / kManifestFile).string(), ": has weights of another kind than its config.json tells of"));
  }
  config.weight_kind = weights.kind;
  config.uniform = weights.uniform;
  config.row_scales = weights.row_scales;
  config.dense = weights.dense;
  return absl::OkStatus();
}

void CompareFile(const std::filesystem::path& folder, const KeptFile& kept,
                 std::vector<std::string>& faults) {
  const auto sha = Sha256OfFile(folder / kept.name, [](size_t) {});
  if (!sha.ok()) {
    faults.emplace_back(sha.status().message());
  } else if (*sha != kept.sha256) {
    faults.push_back(absl::StrCat((folder / kept.name).string(), ": has another SHA-256"));
  }
}

std::string ShaOf(const FileTensor& tensor, absl::FunctionRef<void(size_t)> read) {
  constexpr size_t kPieceBytes = size_t{8} << 20;
  Sha256 sha;
  for (size_t at = 0; at < tensor.data.size(); at += kPieceBytes) {
    const auto piece = tensor.data.subspan(at, kPieceBytes);
    sha.Add(piece);
    tensor.file->Release(piece);
    read(piece.size());
  }
  return sha.Hex();
}

bool IsPad(const FileTensor& tensor) {
  const auto is_zero = [](std::byte byte) { return byte == std::byte{0}; };
  return absl::StartsWith(tensor.name, "pad.") &&
         std::all_of(tensor.data.begin(), tensor.data.end(), is_zero);
}

// A line for each tensor of a rank's file that is not what it was. What is missing OpenRankFile tells.
void CompareTensors(const SafetensorsFile& file, const RankFile& rank, absl::FunctionRef<void(size_t)> read,
                    std::vector<std::string>& faults) {
  std::map<std::string_view, const WrittenTensor*> known;
  for (const WrittenTensor& tensor : rank.tensors) known.emplace(tensor.name, &tensor);
  for (const FileTensor& tensor : file.tensors()) {
    const auto found = known.find(tensor.name);
    if (found == known.end() && !IsPad(tensor)) {
      faults.push_back(absl::StrCat(tensor.Where(), ": was not written so"));
    } else if (found != known.end() && ShaOf(tensor, read) != found->second->sha256) {
      faults.push_back(absl::StrCat(tensor.Where(), ": has another SHA-256"));
    }
  }
}

}  // namespace

absl::StatusOr<ConvertedManifest> ReadFolderManifest(const std::filesystem::path& folder) {
  const std::filesystem::path file = folder / kManifestFile;
  TERNION_ASSIGN_OR_RETURN(ConvertedManifest manifest, ConvertedManifest::Read(file));
  const int64_t ranks = int64_t{manifest.tp} * manifest.pp;
  if (static_cast<int64_t>(manifest.ranks.size()) == ranks) return manifest;
  return absl::InvalidArgumentError(absl::StrCat(file.string(), ": ranks has ", manifest.ranks.size(),
                                                 " entries; tp ", manifest.tp, ", pp ", manifest.pp, " is ",
                                                 ranks));
}

absl::StatusOr<std::unique_ptr<WeightSource>> OpenConverted(const std::filesystem::path& folder) {
  TERNION_ASSIGN_OR_RETURN(ConvertedManifest manifest, ReadFolderManifest(folder));
  TERNION_ASSIGN_OR_RETURN(ModelConfig config, ReadModelConfig(folder / "config.json"));
  TERNION_RETURN_IF_ERROR(CompleteConfig(folder, manifest.weights, config));
  return std::make_unique<ConvertedModel>(folder, std::move(manifest), std::move(config));
}

absl::Status VerifyConverted(const std::filesystem::path& folder, LoadProgress progress) {
  TERNION_ASSIGN_OR_RETURN(const ConvertedManifest manifest, ReadFolderManifest(folder));
  double total = 1, done = 0;
  for (const RankFile& rank : manifest.ranks) total += static_cast<double>(rank.bytes);
  const auto read = [&](size_t bytes) {
    progress(std::min(1.0, (done += static_cast<double>(bytes)) / total));
  };
  std::vector<std::string> faults;
  for (const KeptFile& kept : manifest.files) CompareFile(folder, kept, faults);
  for (const RankFile& rank : manifest.ranks) {
    const std::filesystem::path path = folder / rank.name;
    const size_t before = faults.size();
    const auto file = SafetensorsFile::Open(path);
    if (file.ok()) CompareTensors(**file, rank, read, faults);
    const absl::Status opened = OpenRankFile(path, rank).status();
    if (!opened.ok() && faults.size() == before) faults.emplace_back(opened.message());
  }
  return faults.empty() ? absl::OkStatus() : absl::DataLossError(absl::StrJoin(faults, "\n"));
}

}  // namespace ternion
