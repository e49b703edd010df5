#include "parallel/mpi_communicator.h"  // first: it settles which of MPI's interfaces is taken

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "kernels/check.h"
#include "kernels/status.h"
#include "launcher/bench.h"
#include "launcher/bench_collectives.h"
#include "launcher/host.h"
#include "parallel/tensor_parallel.h"

namespace ternion {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int64_t kRowUnit = 128;  // channels
constexpr double kAboutRate = 400e9;

class CpuCollectives final : public CollectiveDevice {
 public:
  CpuCollectives(MpiSession& mpi, int threads)
      : mpi_(mpi), threads_(threads), backend_(MakeCpuBackend(threads)) {}

  absl::Status Open() {
    TERNION_ASSIGN_OR_RETURN(group_, mpi_.Split(0, mpi_.rank()));
    return absl::OkStatus();
  }

  std::string Title() const override {
    return absl::StrCat("cpu, ", mpi_.size(), " ranks of ", threads_, " threads");
  }
  Backend& backend() override { return *backend_; }
  Communicator& group() override { return *group_; }
  std::unique_ptr<PeerExchange> MakePeers(int64_t, int64_t) override { return nullptr; }

  std::string SumName() const override { return "MPI f32"; }
  int64_t SumBytes() const override { return 4; }
  absl::Status Sum(const void* part, void* sum, int64_t count) override {
    return MpiStatus(MPI_Allreduce(part, sum, static_cast<int>(count), MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD),
                     "MPI_Allreduce");
  }
  absl::Status SumInt32(const int32_t* part, int32_t* sum, int64_t count) override {
    return MpiStatus(MPI_Allreduce(part, sum, static_cast<int>(count), MPI_INT32_T, MPI_SUM, MPI_COMM_WORLD),
                     "MPI_Allreduce");
  }
  void AddNormQuantize(const NormSums& sums) override {
    delta_.resize(sums.residual.size());
    const TensorView<float> delta(delta_.data(), sums.residual.rows(), sums.residual.cols());
    backend_->Dequantize(sums.partial, sums.row_scale, sums.weight_scale, delta);
    backend_->Add(delta, sums.residual);
    backend_->NormQuantize(sums.residual, kBenchEps, sums.norm_weight, /*int4=*/true, sums.out);
  }

  int64_t Copies(int64_t) const override { return 1; }
  absl::StatusOr<double> Seconds(int64_t, double, int repetitions,
                                 absl::FunctionRef<absl::Status(int i)> enqueue) override {
    std::vector<double> seconds;
    for (int i = 0; i <= repetitions; ++i) {
      mpi_.AllGatherStrings("");
      const Clock::time_point begin = Clock::now();
      TERNION_RETURN_IF_ERROR(enqueue(0));
      backend_->Synchronize();
      const double mine = std::chrono::duration<double>(Clock::now() - begin).count();
      if (i > 0) seconds.push_back(mine);  // the first one connects the ranks
    }
    std::nth_element(seconds.begin(), seconds.begin() + seconds.size() / 2, seconds.end());
    return SlowestOf(mpi_, seconds[seconds.size() / 2]);
  }

 private:
  MpiSession& mpi_;
  const int threads_;
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<Communicator> group_;
  std::vector<float> delta_;
};

struct Row {
  std::string exchange;
  int64_t tokens;
  int64_t channels;
  double seconds;
  double sum_seconds;  // of what it is compared with
};

// Operands that take turns.
class Operands {
 public:
  static absl::StatusOr<Operands> Make(Backend& backend, int64_t copies, size_t bytes, bool integers) {
    Operands operands;
    std::minstd_rand random{1};
    std::vector<float> floats(std::min<size_t>(bytes / 4, 1 << 20));
    std::vector<int32_t> sums(floats.size());
    for (size_t i = 0; i < floats.size(); ++i) {
      sums[i] = static_cast<int32_t>(random() % 20001) - 10000;
      floats[i] = static_cast<float>(sums[i]) * 1e-4f;
    }
    const void* const values = integers ? static_cast<const void*>(sums.data()) : floats.data();
    const size_t piece = floats.size() * 4;
    for (int64_t i = 0; i < copies; ++i) {
      TERNION_ASSIGN_OR_RETURN(Buffer buffer, backend.Allocate(bytes));
      for (size_t begin = 0; begin < bytes; begin += piece) {
        backend.CopyFromHost(static_cast<char*>(buffer.data()) + begin, values,
                             std::min(piece, bytes - begin));
      }
      operands.buffers_.push_back(std::move(buffer));
    }
    backend.Synchronize();
    return operands;
  }
  const Buffer& turn(int i) const { return buffers_[static_cast<size_t>(i) % buffers_.size()]; }

 private:
  std::vector<Buffer> buffers_;
};

class CollectiveBench {
 public:
  CollectiveBench(MpiSession& mpi, CollectiveDevice& device, const CollectiveBenchOptions& options)
      : mpi_(mpi), device_(device), backend_(device.backend()), options_(options) {}

  absl::Status Run(const std::vector<int64_t>& sizes) {
    constexpr int64_t kFewTokens = TensorParallel::kOneShotTokens;
    const int64_t most = std::max<int64_t>(*std::max_element(sizes.begin(), sizes.end()) / 2, 1);
    TERNION_ASSIGN_OR_RETURN(
        ranks_, TensorParallel::Create(&backend_, &device_.group(), &bytes_,
                                       std::max(kFewTokens, most / options_.hidden + 1), options_.hidden));
    std::unique_ptr<PeerExchange> peers = device_.MakePeers(kFewTokens, options_.hidden);
    peers_ = peers.get();
    if (peers != nullptr) ranks_->UsePeers(std::move(peers));
    PrintHead();
    for (const int64_t bytes : sizes) TERNION_RETURN_IF_ERROR(RunSize(bytes / 2));
    for (const int64_t tokens : {1, 2, 4, 8, 16}) TERNION_RETURN_IF_ERROR(RunNorm(tokens));
    backend_.Synchronize();
    mpi_.AllGatherStrings("");  // nobody's memory goes while another writes to it
    TERNION_RETURN_IF_ERROR(ranks_->Health());
    if (options_.json && mpi_.rank() == 0) std::printf("%s\n", json_.dump(2).c_str());
    return absl::OkStatus();
  }

 private:
  using Enqueue = absl::FunctionRef<absl::Status(int i)>;

  absl::StatusOr<double> Seconds(int64_t copies, int64_t bytes, Enqueue enqueue) {
    return device_.Seconds(copies, std::max(4e-6, static_cast<double>(bytes) / kAboutRate),
                           options_.repetitions, enqueue);
  }

  // A tensor of `elements`: whole rows, or one shorter row.
  absl::Status RunSize(int64_t elements) {
    const int64_t n = std::min(options_.hidden, elements), tokens = elements / n;
    TERNION_ASSIGN_OR_RETURN(const double sum_seconds, SumSeconds(tokens * n));
    TERNION_RETURN_IF_ERROR(RunExact(tokens, n, sum_seconds));
    for (const WireFormat format : {WireFormat::kInt8, WireFormat::kInt4}) {
      TERNION_RETURN_IF_ERROR(RunLossy(format, tokens, n, sum_seconds));
    }
    return absl::OkStatus();
  }

  absl::StatusOr<double> SumSeconds(int64_t elements) {
    const int64_t bytes = elements * device_.SumBytes(), copies = device_.Copies(2 * bytes);
    TERNION_ASSIGN_OR_RETURN(const Operands part, Operands::Make(backend_, copies, bytes, false));
    TERNION_ASSIGN_OR_RETURN(const Operands sum, Operands::Make(backend_, copies, bytes, false));
    return Seconds(copies, 2 * elements,
                   [&](int i) { return device_.Sum(part.turn(i).data(), sum.turn(i).data(), elements); });
  }

  absl::Status RunExact(int64_t tokens, int64_t n, double sum_seconds) {
    const int64_t owned = ranks_->OwnedRows(tokens).size(), copies = device_.Copies(8 * tokens * n);
    TERNION_ASSIGN_OR_RETURN(const Operands part, Operands::Make(backend_, copies, tokens * n * 4, true));
    TERNION_ASSIGN_OR_RETURN(const Operands sum, Operands::Make(backend_, copies, owned * n * 4, false));
    TERNION_ASSIGN_OR_RETURN(const Operands scale, Operands::Make(backend_, 1, (tokens + n) * 4, false));
    const TensorView<const float> row_scale = scale.turn(0).As<const float>(1, tokens);
    const TensorView<const float> weight_scale = scale.turn(0).As<const float>(1, n);
    const bool by_peers = peers_ != nullptr && tokens <= peers_->most_tokens();
    TERNION_ASSIGN_OR_RETURN(
        const double seconds, Seconds(copies, 4 * tokens * n, [&](int i) -> absl::Status {
          const auto partial = part.turn(i).As<const int32_t>(tokens, n);
          if (!by_peers) return ranks_->ReduceExact(partial, sum.turn(i).As<int32_t>(owned, n));
          ranks_->PeerReduceAdd(partial, row_scale, weight_scale, sum.turn(i).As<float>(owned, n));
          return absl::OkStatus();
        }));
    Print({"exact", tokens, n, seconds, sum_seconds});
    return absl::OkStatus();
  }

  // The reduce alone, and with the gather of everybody's INT4 codes where rows are shared out.
  absl::Status RunLossy(WireFormat format, int64_t tokens, int64_t n, double sum_seconds) {
    const int64_t owned = ranks_->OwnedRows(tokens).size(), copies = device_.Copies(6 * tokens * n);
    const std::string name(WireFormatName(format));
    TERNION_ASSIGN_OR_RETURN(const Operands part, Operands::Make(backend_, copies, tokens * n * 4, false));
    TERNION_ASSIGN_OR_RETURN(const Operands sum, Operands::Make(backend_, copies, owned * n * 4, false));
    const auto reduce = [&](int i) {
      return ranks_->ReduceLossy(format, part.turn(i).As<const float>(tokens, n), nullptr,
                                 sum.turn(i).As<float>(owned, n), nullptr);
    };
    TERNION_ASSIGN_OR_RETURN(const double seconds, Seconds(copies, 2 * tokens * n, reduce));
    Print({name, tokens, n, seconds, sum_seconds});
    if (!ranks_->sequence_parallel(tokens)) return absl::OkStatus();
    TERNION_ASSIGN_OR_RETURN(const Operands codes, Operands::Make(backend_, 1, tokens * n, true));
    TERNION_ASSIGN_OR_RETURN(const Operands scales, Operands::Make(backend_, 1, tokens * 4, false));
    const QuantizedRows all{codes.turn(0).As<int8_t>(tokens, n), scales.turn(0).As<float>(1, tokens)};
    const Range own = ranks_->OwnedRows(tokens);
    const QuantizedRows mine = all.Rows(own.begin, own.end);
    TERNION_ASSIGN_OR_RETURN(const double with_gather,
                             Seconds(copies, 2 * tokens * n, [&](int i) -> absl::Status {
                               TERNION_RETURN_IF_ERROR(reduce(i));
                               return ranks_->GatherCodes(/*int4=*/true, {mine.codes, mine.scales}, all);
                             }));
    Print({name + " + gather", tokens, n, with_gather, sum_seconds});
    return absl::OkStatus();
  }

  // Exact sums, residual, norm and INT4 codes.
  absl::Status RunNorm(int64_t tokens) {
    const int64_t n = options_.hidden, copies = device_.Copies(9 * tokens * n);
    TERNION_ASSIGN_OR_RETURN(const Operands part, Operands::Make(backend_, copies, tokens * n * 4, true));
    TERNION_ASSIGN_OR_RETURN(const Operands residual,
                             Operands::Make(backend_, copies, tokens * n * 4, false));
    TERNION_ASSIGN_OR_RETURN(const Operands scale, Operands::Make(backend_, 1, (tokens + n) * 4, false));
    TERNION_ASSIGN_OR_RETURN(const Operands whole, Operands::Make(backend_, 1, tokens * n * 4, true));
    TERNION_ASSIGN_OR_RETURN(const Operands codes, Operands::Make(backend_, 1, tokens * n, true));
    TERNION_ASSIGN_OR_RETURN(const Operands scales, Operands::Make(backend_, 1, tokens * 4, false));
    const auto sums = [&](int i, const Buffer& partial) -> NormSums {
      return {partial.As<const int32_t>(tokens, n),
              scale.turn(0).As<const float>(1, tokens),
              scale.turn(0).As<const float>(1, n),
              residual.turn(i).As<float>(tokens, n),
              scale.turn(0).As<const float>(1, n),
              {codes.turn(0).As<int8_t>(tokens, n), scales.turn(0).As<float>(1, tokens)}};
    };
    const auto plain = [&](int i) -> absl::Status {
      TERNION_RETURN_IF_ERROR(device_.SumInt32(part.turn(i).As<const int32_t>(tokens, n).data(),
                                               whole.turn(0).As<int32_t>(tokens, n).data(), tokens * n));
      device_.AddNormQuantize(sums(i, whole.turn(0)));
      return absl::OkStatus();
    };
    const auto fused = [&](int i) -> absl::Status {
      const NormSums all = sums(i, part.turn(i));
      if (peers_ != nullptr && peers_->TakesNorm(n)) {
        peers_->ReduceAddNormQuantize(all.partial, all.row_scale, all.weight_scale, all.residual, kBenchEps,
                                      all.norm_weight, /*int4=*/true, all.out);
        return absl::OkStatus();
      }
      TERNION_RETURN_IF_ERROR(ranks_->ReduceExact(all.partial, whole.turn(0).As<int32_t>(tokens, n)));
      device_.AddNormQuantize(sums(i, whole.turn(0)));
      return absl::OkStatus();
    };
    TERNION_ASSIGN_OR_RETURN(const double sum_seconds, Seconds(copies, 4 * tokens * n, plain));
    TERNION_ASSIGN_OR_RETURN(const double seconds, Seconds(copies, 4 * tokens * n, fused));
    Print({"norm", tokens, n, seconds, sum_seconds});
    return absl::OkStatus();
  }

  void PrintHead() {
    if (mpi_.rank() != 0) return;
    json_["device"] = device_.Title();
    json_["plain_sum"] = device_.SumName();
    json_["rows"] = nlohmann::ordered_json::array();
    if (options_.json) return;
    std::printf("%s; GB/s of the tensor in fp16; ratio: the plain sum's time by ours%s\n",
                device_.Title().c_str(), peers_ == nullptr ? "; through the library alone" : "");
    std::printf("%-14s %13s %10s %10s %8s %12s %7s\n", "exchange", "tokens x ch", "KiB fp16", "us", "GB/s",
                (device_.SumName() + " us").c_str(), "ratio");
  }

  void Print(const Row& row) {
    if (mpi_.rank() != 0) return;
    const auto bytes = static_cast<double>(2 * row.tokens * row.channels);
    if (options_.json) {
      json_["rows"].push_back({{"exchange", row.exchange},
                               {"tokens", row.tokens},
                               {"channels", row.channels},
                               {"fp16_bytes", 2 * row.tokens * row.channels},
                               {"us", row.seconds * 1e6},
                               {"gb_per_s", bytes / row.seconds / 1e9},
                               {"plain_sum_us", row.sum_seconds * 1e6},
                               {"ratio", row.sum_seconds / row.seconds}});
      return;
    }
    std::printf("%-14s %13s %10.0f %10.2f %8.1f %12.2f %6.2fx\n", row.exchange.c_str(),
                absl::StrFormat("%d x %d", row.tokens, row.channels).c_str(), bytes / 1024, row.seconds * 1e6,
                bytes / row.seconds / 1e9, row.sum_seconds * 1e6, row.sum_seconds / row.seconds);
    std::fflush(stdout);
  }

  MpiSession& mpi_;
  CollectiveDevice& device_;
  Backend& backend_;
  const CollectiveBenchOptions& options_;
  WireBytes bytes_;
  std::unique_ptr<TensorParallel> ranks_;
  PeerExchange* peers_ = nullptr;
  nlohmann::ordered_json json_;
};

absl::StatusOr<std::vector<int64_t>> ParseSizes(const CollectiveBenchOptions& options) {
  if (options.hidden % kRowUnit != 0) {
    return absl::InvalidArgumentError(absl::StrCat("--hidden must be a multiple of ", kRowUnit));
  }
  std::vector<int64_t> sizes;
  for (const std::string& text : options.sizes) {
    TERNION_ASSIGN_OR_RETURN(const int64_t bytes, ParseBytes(text));
    const int64_t elements = bytes / 2, unit = std::min(elements, options.hidden);
    if (bytes % (2 * kRowUnit) != 0 || bytes == 0 || elements % unit != 0 || elements > INT32_MAX / 4) {
      return absl::InvalidArgumentError(
          absl::StrCat("--size ", text, " is neither whole rows of --hidden ", options.hidden,
                       " channels in fp16 nor part of one in whole ", kRowUnit, " channels, or too much"));
    }
    sizes.push_back(bytes);
  }
  return sizes;
}

absl::Status RunAll(MpiSession& mpi, const CollectiveBenchOptions& options) {
  if (mpi.size() < 2) {
    return absl::InvalidArgumentError(
        "ranks exchange with each other: start it with mpirun -np 2 ternion bench collectives");
  }
  TERNION_ASSIGN_OR_RETURN(const std::vector<int64_t> sizes, ParseSizes(options));
  absl::StatusOr<std::unique_ptr<CollectiveDevice>> device = absl::UnavailableError("");
  if (options.device != "cpu") {
    device = OpenCudaCollectives(mpi);
    if (!device.ok() && options.device == "cuda") return device.status();
  }
  if (!device.ok()) {
    const CoreShare share = ShareCores(mpi);
    auto cpu = std::make_unique<CpuCollectives>(
        mpi, options.threads > 0 ? options.threads : std::max(1, share.cores / share.ranks));
    TERNION_RETURN_IF_ERROR(cpu->Open());
    device = std::move(cpu);
  }
  return CollectiveBench(mpi, **device, options).Run(sizes);
}

}  // namespace

double SlowestOf(MpiSession& mpi, double seconds) {
  double slowest = 0;
  for (const std::string& text : mpi.AllGatherStrings(absl::StrCat(seconds))) {
    double one = 0;
    if (absl::SimpleAtod(text, &one)) slowest = std::max(slowest, one);
  }
  return slowest;
}

int BenchCollectives(MpiSession& mpi, const CollectiveBenchOptions& options) {
  const absl::Status status = RunAll(mpi, options);
  if (status.ok()) return kDone;
  if (mpi.rank() == 0) std::fprintf(stderr, "ternion: %s\n", std::string(status.message()).c_str());
  return absl::IsInvalidArgument(status) ? kBadArguments : kFailed;
}

}  // namespace ternion
