#include <algorithm>
#include <cstdio>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "kernels/device_memory_query.h"
#include "kernels/status.h"
#include "launcher/bench.h"
#include "launcher/bench_device.h"
#include "launcher/host.h"
#include "launcher/job.h"
#include "launcher/model.h"
#include "runtime/cache/kv_cache.h"

namespace ternion {
namespace {

constexpr int64_t kWrittenTokens = 1024;  // of a cache, whole blocks; the rest is copied

// One batch over the cache of one layer, and copies of that layer, which take turns.
struct FormatCase {
  FormatCase(KvFormat kv_format, int64_t cache_bytes) : format(kv_format), bytes(cache_bytes) {}

  KvFormat format;
  int64_t bytes;  // of a layer's cache
  std::vector<Buffer> buffers;
  std::vector<KvLayer> layers;
  std::vector<double> seconds;
  std::vector<double> read_seconds;
};

double Median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<int64_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

class AttentionBench {
 public:
  AttentionBench(BenchDevice& device, const AttentionBenchOptions& options, const HeadShard& heads)
      : device_(device),
        backend_(device.backend()),
        options_(options),
        heads_(heads),
        width_((heads.query_heads + 2 * heads.kv_heads) * int64_t{heads.head_dim}) {}

  absl::Status Run(int64_t batch, const std::vector<KvFormat>& formats) {
    MakeTables(batch);
    std::vector<FormatCase> cases;
    for (KvFormat format : formats) {
      cases.emplace_back(format, Blocks(batch) * KvCache::BlockBytes(format, heads_));
    }
    TERNION_RETURN_IF_ERROR(CheckMemory(cases));
    for (FormatCase& one : cases) TERNION_RETURN_IF_ERROR(Fill(one));
    // Formats take turns, so that whatever else the machine does falls on all.
    for (int i = 0; i < options_.repetitions; ++i) {
      for (FormatCase& one : cases) TERNION_RETURN_IF_ERROR(Measure(one));
    }
    for (const FormatCase& one : cases) Print(one, Median(cases.front().seconds));
    return absl::OkStatus();
  }

 private:
  int64_t Blocks(int64_t batch) const { return batch * BlocksFor(options_.context); }

  // Blocks of a sequence lie anywhere, as they do in a server.
  void MakeTables(int64_t batch) {
    std::vector<int32_t> ids(static_cast<size_t>(Blocks(batch)));
    std::iota(ids.begin(), ids.end(), 0);
    std::shuffle(ids.begin(), ids.end(), std::mt19937(1));
    tables_.clear();
    for (auto next = ids.begin(); next != ids.end(); next += BlocksFor(options_.context)) {
      tables_.emplace_back(next, next + BlocksFor(options_.context));
    }
  }

  absl::Status CheckMemory(const std::vector<FormatCase>& cases) const {
    int64_t needed = 0;
    for (const FormatCase& one : cases) needed += one.bytes * RotatedCopies(one.bytes);
    TERNION_ASSIGN_OR_RETURN(const int64_t free, device_.FreeBytes());
    if (needed <= free) return absl::OkStatus();
    return absl::ResourceExhaustedError(
        absl::StrCat("a batch of ", tables_.size(), " over ", options_.context, " tokens takes ",
                     needed >> 20, " MiB in all formats, ", free >> 20,
                     " MiB are free; use fewer --kv-format, a smaller --batch or --context"));
  }

  // Every copy holds the same normal numbers.
  absl::Status Fill(FormatCase& one) {
    for (int64_t i = 0; i < RotatedCopies(one.bytes); ++i) {
      TERNION_ASSIGN_OR_RETURN(Buffer buffer, backend_.Allocate(static_cast<size_t>(one.bytes)));
      one.layers.push_back({buffer.data(), one.format, Blocks(static_cast<int64_t>(tables_.size())),
                            heads_.kv_heads, heads_.head_dim, options_.job.query_bits});
      one.buffers.push_back(std::move(buffer));
    }
    TERNION_RETURN_IF_ERROR(FillLayer(one));
    for (size_t i = 1; i < one.buffers.size(); ++i) {
      backend_.Copy(one.buffers[i].data(), one.buffers[0].data(), one.buffers[0].bytes());
    }
    backend_.Synchronize();
    return absl::OkStatus();
  }

  // A few blocks are written, the others are copies of them.
  absl::Status FillLayer(const FormatCase& one) {
    const std::vector<int32_t>& table = tables_[0];
    const int64_t tokens = std::min(kWrittenTokens, options_.context);
    TERNION_ASSIGN_OR_RETURN(const Buffer qkv, RandomRows(tokens));
    const std::vector<KvSlice> slices = {{0, tokens, 0, table}};
    backend_.WriteKv(qkv.As<const float>(tokens, width_), heads_, backend_.UploadSlices(slices),
                     one.layers[0]);
    backend_.Synchronize();
    const int64_t written = BlocksFor(tokens), block_bytes = KvCache::BlockBytes(one.format, heads_);
    const auto block = [&](int32_t id) { return static_cast<char*>(one.layers[0].data) + id * block_bytes; };
    for (const std::vector<int32_t>& each : tables_) {
      for (int64_t i = &each == &table ? written : 0; i < BlocksFor(options_.context); ++i) {
        backend_.Copy(block(each[i]), block(table[i % written]), static_cast<size_t>(block_bytes));
      }
    }
    return absl::OkStatus();
  }

  absl::StatusOr<Buffer> RandomRows(int64_t rows) {
    TERNION_ASSIGN_OR_RETURN(Buffer qkv, backend_.Allocate(static_cast<size_t>(rows * width_ * 4)));
    std::normal_distribution<float> normal;
    std::vector<float> values(static_cast<size_t>(rows * width_));
    for (float& value : values) value = normal(random_);
    backend_.CopyFromHost(qkv.data(), values.data(), qkv.bytes());
    backend_.Synchronize();
    return qkv;
  }

  absl::Status Measure(FormatCase& one) {
    const auto batch = static_cast<int64_t>(tables_.size()),
               out_width = int64_t{heads_.query_heads} * heads_.head_dim;
    TERNION_ASSIGN_OR_RETURN(const Buffer qkv, RandomRows(batch));
    TERNION_ASSIGN_OR_RETURN(const Buffer out, backend_.Allocate(static_cast<size_t>(batch * out_width * 4)));
    std::vector<KvSlice> slices;
    for (int64_t s = 0; s < batch; ++s) slices.push_back({s, 1, options_.context - 1, tables_[s]});
    const KvSlices uploaded = backend_.UploadSlices(slices);
    backend_.Synchronize();
    TERNION_ASSIGN_OR_RETURN(const double reading, device_.ReadSeconds(one.bytes));
    one.read_seconds.push_back(reading);
    one.seconds.push_back(
        device_.Seconds(static_cast<int64_t>(one.layers.size()), 2 * reading, [&](int64_t i) {
          backend_.Attention(qkv.As<const float>(batch, width_), heads_, uploaded, one.layers[i],
                             out.As<float>(batch, out_width));
        }));
    return absl::OkStatus();
  }

  void Print(const FormatCase& one, double baseline) const {
    const double seconds = Median(one.seconds), reading = Median(one.read_seconds);
    const auto bytes = static_cast<double>(one.bytes);
    std::printf("%5zu %-9s %10.1f %9.1f %10.1f %8.1f %10.1f %7.0f %% %7.2fx\n", tables_.size(),
                std::string(KvFormatName(one.format)).c_str(),
                static_cast<double>(KvCache::BlockBytes(one.format, heads_)) / kKvBlockTokens, bytes / 1e6,
                seconds * 1e6, bytes / seconds / 1e9, bytes / reading / 1e9, 100 * reading / seconds,
                baseline / seconds);
    std::fflush(stdout);
  }

  BenchDevice& device_;
  Backend& backend_;
  const AttentionBenchOptions& options_;
  const HeadShard heads_;
  const int64_t width_;
  std::vector<std::vector<int32_t>> tables_;  // of the batch's sequences
  std::minstd_rand random_{1};
};

// f16 first, with which the others are compared; those that the model's heads allow where none are named.
absl::StatusOr<std::vector<KvFormat>> FormatsOf(const AttentionBenchOptions& options, int head_dim,
                                                bool cuda) {
  std::vector<KvFormat> formats = {KvFormat::kF16};
  for (const std::string& name : options.formats) {
    TERNION_ASSIGN_OR_RETURN(const KvFormat format, ParseKvFormat(name));
    TERNION_RETURN_IF_ERROR(CheckKvFormat(format, head_dim));
    if (format == KvFormat::kF32 && cuda) return absl::InvalidArgumentError("--kv-format f32: CUDA has f16");
    if (format != KvFormat::kF16) formats.push_back(format);
  }
  for (KvFormat format :
       {KvFormat::kInt8, KvFormat::kInt4, KvFormat::kInt3, KvFormat::kInt4G32, KvFormat::kInt3G32}) {
    if (options.formats.empty() && CheckKvFormat(format, head_dim).ok()) formats.push_back(format);
  }
  return formats;
}

absl::Status RunAll(const AttentionBenchOptions& options, int threads) {
  TERNION_ASSIGN_OR_RETURN(const auto source, OpenModel(options.job));
  const ModelShape& shape = source->config().shape;
  TERNION_RETURN_IF_ERROR(CheckSharding(shape, options.job.tp, options.job.pp));
  const bool cuda = options.job.device == "cuda" || (options.job.device == "auto" && CudaDeviceCount() > 0);
  TERNION_ASSIGN_OR_RETURN(const std::vector<KvFormat> formats, FormatsOf(options, shape.head_dim, cuda));
  std::unique_ptr<BenchDevice> device;
  if (cuda) {
    TERNION_ASSIGN_OR_RETURN(device, OpenCudaBench());
  } else {
    device = OpenCpuBench(threads);
  }
  const HeadShard heads = ShardLayer(shape, options.job.tp, 0).heads;
  std::printf(
      "%s, tp %d, %s; a token of each sequence, %d heads of %d channels over %d KV heads, %lld tokens of "
      "context\n",
      options.job.ModelName().c_str(), options.job.tp, device->Title().c_str(), heads.query_heads,
      heads.head_dim, heads.kv_heads, static_cast<long long>(options.context));
  std::printf("%5s %-9s %10s %9s %10s %8s %10s %9s %8s\n", "batch", "KV cache", "B a token", "MB", "us",
              "GB/s", "read GB/s", "of read", "f16 by it");
  AttentionBench bench(*device, options, heads);
  for (int64_t batch : options.batches) TERNION_RETURN_IF_ERROR(bench.Run(batch, formats));
  return absl::OkStatus();
}

}  // namespace

int BenchAttention(MpiSession& mpi, const AttentionBenchOptions& options) {
  StartLogging(options.job, mpi.rank());
  const CoreShare share = ShareCores(mpi);
  if (mpi.rank() != 0) return kDone;
  const int threads = options.job.threads > 0 ? options.job.threads : std::max(1, share.cores / share.ranks);
  const absl::Status status = RunAll(options, threads);
  if (status.ok()) return kDone;
  std::fprintf(stderr, "ternion: %s\n", std::string(status.message()).c_str());
  return absl::IsInvalidArgument(status) ? kBadArguments : kFailed;
}

}  // namespace ternion
