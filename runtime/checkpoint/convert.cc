#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <thread>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "kernels/status.h"
#include "runtime/checkpoint/converted.h"
#include "runtime/checkpoint/converted_rank.h"
#include "runtime/checkpoint/part_queue.h"
#include "runtime/checkpoint/sha256.h"

namespace ternion {
namespace {

constexpr int64_t kTensorsOfLayer = 24;
constexpr int64_t kTensorsOfStage = 8;
// Of layers that wait to be written, so that the disk has work while a table is made, and the maker while one is written.
constexpr int64_t kWaitingBytes = int64_t{512} << 20;

std::string MB(double bytes) { return absl::StrFormat("%.1f MB", bytes / 1e6); }

// How many of a rank's layers wait at most.
size_t WaitingParts(const ModelConfig& config, const ProcessGrid& grid) {
  const int64_t layers = std::max<int64_t>(1, StageLayers(config.shape, grid.pp, grid.stage()).size());
  const int64_t layer_bytes = PredictWeightMemory(config, grid).linear_bytes / layers;
  return static_cast<size_t>(std::clamp<int64_t>(kWaitingBytes / std::max<int64_t>(1, layer_bytes), 1, 16));
}

// The folder that is written to, locked against another process.
class PartialFolder {
 public:
  static absl::StatusOr<PartialFolder> Open(const std::filesystem::path& path) {
    std::error_code error;
    std::filesystem::create_directories(path, error);
    const int opened = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (opened < 0) {
      return absl::ErrnoToStatus(errno, absl::StrCat(path.string(), ": cannot make this folder"));
    }
    PartialFolder folder(path, opened);
    if (flock(opened, LOCK_EX | LOCK_NB) == 0) return folder;
    return absl::FailedPreconditionError(
        absl::StrCat(path.string(), ": another process converts there; wait for it, or name another folder"));
  }
  ~PartialFolder() {
    if (opened_ >= 0) close(opened_);
  }
  PartialFolder(PartialFolder&& other) noexcept
      : path_(std::move(other.path_)), opened_(std::exchange(other.opened_, -1)) {}
  PartialFolder& operator=(PartialFolder&&) = delete;

  const std::filesystem::path& path() const { return path_; }

 private:
  PartialFolder(std::filesystem::path path, int opened) : path_(std::move(path)), opened_(opened) {}

  std::filesystem::path path_;
  int opened_;
};

// Writes the parts of one rank as they come, on a thread of its own.
class RankPipe {
 public:
  RankPipe(const ModelConfig& config, const ProcessGrid& grid, SafetensorsWriter& file,
           TernaryPacking packing)
      : writer_(file, packing),
        walk_(config, grid, writer_),
        queue_(WaitingParts(config, grid)),
        thread_([this] { Run(); }) {}
  ~RankPipe() { static_cast<void>(Finish()); }

  absl::Status Take(StageWeights& made) {
    StageWeights part;
    std::swap(part.layers, made.layers);
    std::swap(part.float_layers, made.float_layers);
    std::swap(part.embedding, made.embedding);
    std::swap(part.final_norm, made.final_norm);
    std::swap(part.head, made.head);
    return queue_.Push(std::move(part));
  }
  // Waits until all is written.
  absl::Status Finish() {
    queue_.Close();
    if (thread_.joinable()) thread_.join();
    return failure_;
  }
  std::string Samples() const { return writer_.Samples(); }

 private:
  void Run() {
    next_layer_ = walk_.layers().begin;
    while (std::optional<StageWeights> part = queue_.Pop()) {
      failure_ = Write(*part);
      if (failure_.ok()) continue;
      queue_.GiveUp(failure_);
      return;
    }
  }

  absl::Status Write(StageWeights& part) {
    if (!part.embedding.empty()) TERNION_RETURN_IF_ERROR(walk_.Embedding(part.embedding));
    for (LayerWeights& layer : part.layers) TERNION_RETURN_IF_ERROR(walk_.Layer(next_layer_++, layer));
    for (FloatLayerWeights& layer : part.float_layers) {
      TERNION_RETURN_IF_ERROR(walk_.Layer(next_layer_++, layer));
    }
    if (!part.final_norm.empty()) TERNION_RETURN_IF_ERROR(walk_.FinalNorm(part.final_norm));
    return part.head.empty() ? absl::OkStatus() : walk_.Head(part.head);
  }

  RankWriter writer_;
  StageWalk walk_;
  PartQueue queue_;
  int64_t next_layer_ = 0;
  absl::Status failure_;
  std::thread thread_;  // uses all of the above
};

class Conversion {
 public:
  Conversion(WeightSource& source, const ConvertOptions& options, const PartialFolder& folder,
             LoadProgress progress)
      : source_(source),
        options_(options),
        folder_(folder.path()),
        progress_(progress),
        backend_(MakeCpuBackend(options.threads)) {
    manifest_.packing = options.packing;
    manifest_.source = options.name;
    manifest_.source_digest = source.Digest();
    manifest_.weights = FormatOf(source.config());
    manifest_.tp = options.tp;
    manifest_.pp = options.pp;
  }

  absl::StatusOr<ConvertReport> Run() {
    std::vector<std::optional<RankFile>> finished;
    for (int rank = 0; rank < ranks(); ++rank) finished.push_back(FindFinished(rank));
    RemoveStrays(finished);
    TERNION_RETURN_IF_ERROR(CheckSpace(finished));
    ConvertReport report;
    for (int rank = 0; rank < ranks(); ++rank) {
      if (finished[rank].has_value()) {
        ++report.ranks_kept;
        report.bytes_kept += finished[rank]->bytes;
      } else {
        TERNION_ASSIGN_OR_RETURN(finished[rank], ConvertRank(rank));
      }
      report.bytes += finished[rank]->bytes;
      manifest_.ranks.push_back(*std::move(finished[rank]));
    }
    TERNION_RETURN_IF_ERROR(Complete());
    report.manifest = std::move(manifest_);
    return report;
  }

 private:
  int ranks() const { return options_.tp * options_.pp; }
  ProcessGrid Grid(int rank) const { return {options_.tp, options_.pp, rank}; }
  // What tells a later run that a rank's file is whole: a manifest that has this rank alone.
  std::filesystem::path NotePath(int rank) const {
    return folder_ / absl::StrCat("rank-", rank, "-of-", ranks(), ".json");
  }

  std::optional<RankFile> FindFinished(int rank) const {
    absl::StatusOr<ConvertedManifest> note = ConvertedManifest::Read(NotePath(rank));
    if (!note.ok() || note->ranks.size() != 1) return std::nullopt;
    RankFile file = note->ranks.front();
    ConvertedManifest mine = manifest_;
    mine.ranks = note->ranks;
    if (*note != mine || file.name != RankFileName(rank, ranks())) return std::nullopt;
    if (!OpenRankFile(folder_ / file.name, file).ok()) return std::nullopt;
    return file;
  }

  // What an interrupted run has left, of another model or grid maybe.
  void RemoveStrays(const std::vector<std::optional<RankFile>>& finished) const {
    std::vector<std::filesystem::path> strays = {folder_ / kManifestFile};
    std::error_code ignored;
    for (const auto& entry : std::filesystem::directory_iterator(folder_, ignored)) {
      const std::string name = entry.path().filename().string();
      const bool kept = std::any_of(finished.begin(), finished.end(), [&](const auto& file) {
        return file.has_value() &&
               (name == file->name || name == std::filesystem::path(file->name).stem().string() + ".json");
      });
      if (!kept && absl::StartsWith(name, "rank-")) strays.push_back(entry.path());
    }
    for (const auto& path : strays) std::filesystem::remove(path, ignored);
  }

  absl::Status CheckSpace(const std::vector<std::optional<RankFile>>& finished) const {
    double needed = 0;
    for (int rank = 0; rank < ranks(); ++rank) {
      if (finished[rank].has_value()) continue;
      const WeightMemory memory = PredictWeightMemory(source_.config(), Grid(rank));
      const double share = options_.packing == TernaryPacking::kFiveTrits ? 0.8 : 1.0;
      needed += static_cast<double>(memory.linear_bytes) * share +
                static_cast<double>(memory.embedding_bytes + memory.other_bytes);
    }
    std::error_code error;
    const auto space = std::filesystem::space(folder_, error);
    if (error || needed <= static_cast<double>(space.available)) return absl::OkStatus();
    return absl::ResourceExhaustedError(
        absl::StrCat(folder_.string(), ": needs ", MB(needed), " more, and its disk has ",
                     MB(static_cast<double>(space.available)), " free; make room there, or name a folder on ",
                     "another disk"));
  }

  absl::StatusOr<RankFile> ConvertRank(int rank) {
    const ModelConfig& config = source_.config();
    const ProcessGrid grid = Grid(rank);
    RankFile file;
    file.name = RankFileName(rank, ranks());
    TERNION_ASSIGN_OR_RETURN(
        const auto writer, SafetensorsWriter::Create(
                               folder_ / file.name, kTensorsOfStage + config.shape.layers * kTensorsOfLayer));
    RankPipe pipe(config, grid, *writer, options_.packing);
    const auto take = [&](StageWeights& made) { return pipe.Take(made); };
    const auto show = [&](double done) { progress_((rank + done) / ranks()); };
    const absl::Status loaded = source_.LoadParts(grid, *backend_, show, take).status();
    TERNION_RETURN_IF_ERROR(pipe.Finish());
    TERNION_RETURN_IF_ERROR(loaded);
    TERNION_RETURN_IF_ERROR(writer->Finish());
    file.bytes = writer->bytes();
    file.samples = pipe.Samples();
    file.tensors = writer->tensors();
    ConvertedManifest note = manifest_;
    note.ranks = {file};
    TERNION_RETURN_IF_ERROR(WriteWholeFile(NotePath(rank), note.ToJson()));
    return file;
  }

  // The manifest comes last: a folder without one is no model.
  absl::Status Complete() {
    for (const auto& [name, content] : options_.files) {
      TERNION_RETURN_IF_ERROR(WriteWholeFile(folder_ / name, content));
      manifest_.files.push_back({name, static_cast<int64_t>(content.size()), Sha256Of(content)});
    }
    TERNION_RETURN_IF_ERROR(WriteWholeFile(folder_ / kManifestFile, manifest_.ToJson()));
    TERNION_RETURN_IF_ERROR(SyncFolder(folder_));
    if (rename(folder_.c_str(), options_.destination.c_str()) != 0) {
      return absl::ErrnoToStatus(
          errno, absl::StrCat(folder_.string(), ": cannot rename it to ", options_.destination.string()));
    }
    TERNION_RETURN_IF_ERROR(SyncFolder(options_.destination.parent_path()));
    std::error_code ignored;
    for (int rank = 0; rank < ranks(); ++rank) {
      std::filesystem::remove(options_.destination / NotePath(rank).filename(), ignored);
    }
    return absl::OkStatus();
  }

  WeightSource& source_;
  const ConvertOptions& options_;
  const std::filesystem::path folder_;
  LoadProgress progress_;
  const std::unique_ptr<Backend> backend_;
  ConvertedManifest manifest_;  // without ranks and files, until they are there
};

}  // namespace

absl::Status CheckConversion(const ModelConfig& config, const ConvertOptions& options) {
  TERNION_RETURN_IF_ERROR(CheckSharding(config.shape, options.tp, options.pp));
  if (options.packing == TernaryPacking::kFiveTrits && config.weight_kind != WeightKind::kTernary) {
    return absl::InvalidArgumentError(
        "five-trits packs ternary weights, and this model has others; use the packing cpu");
  }
  std::error_code ignored;
  if (!std::filesystem::exists(options.destination, ignored)) return absl::OkStatus();
  return absl::AlreadyExistsError(absl::StrCat(
      options.destination.string(), ": is there already; remove it, or name a folder that is not there"));
}

absl::StatusOr<ConvertReport> ConvertModel(WeightSource& source, const ConvertOptions& options,
                                           LoadProgress progress) {
  TERNION_RETURN_IF_ERROR(CheckConversion(source.config(), options));
  TERNION_ASSIGN_OR_RETURN(const PartialFolder folder,
                           PartialFolder::Open(options.destination.string() + ".partial"));
  return Conversion(source, options, folder, progress).Run();
}

}  // namespace ternion
