#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "launcher/options.h"
#include "parallel/mpi_session.h"

namespace ternion {

struct KernelBenchOptions {
  JobOptions job;
  std::vector<std::string> shapes;   // OUTPUTSxINPUTS, after the model's
  std::vector<std::string> weights;  // other weights of every shape (launcher/bench_weights.h)
  std::vector<int64_t> tokens = {1, 4, 16, 512};
  int repetitions = 20;
};

// The ternary matmuls of one layer of the model on this rank's share of the cores: time, bytes of packed
// weights a second and its share of the read bandwidth measured in the same run (one token), operations a
// second (many). Weights rotate over more than 512 MB, so that no cache holds them.
int BenchKernels(MpiSession& mpi, const KernelBenchOptions& options);

// The same on the first CUDA device, each row beside the time that only reading the weights takes and beside
// cuBLASLt's matmuls of fp16 and int8. kUnavailable without a device, or in a build without CUDA.
absl::Status BenchCudaKernels(const KernelBenchOptions& options);

// Bytes a second that a kernel which only reads takes from this device's memory, 1 GiB at a time. kUnavailable,
// kResourceExhausted.
absl::StatusOr<double> CudaReadRate(int device);

struct AttentionBenchOptions {
  JobOptions job;
  std::vector<std::string> formats;  // of the KV cache; empty: f16 and all packed ones
  std::vector<int64_t> batches = {1, 8, 32};
  int64_t context = 16384;  // tokens
  int repetitions = 10;
};

// Decode attention of one layer of the model, a token of each sequence, for every KV format in turns: time, bytes of the
// cache a second and their share of the read bandwidth measured in the same run, and f16's time by it.
int BenchAttention(MpiSession& mpi, const AttentionBenchOptions& options);

struct CollectiveBenchOptions {
  std::string device = "auto";
  int threads = 0;
  std::vector<std::string> sizes = {"2KiB", "8KiB", "32KiB", "128KiB", "512KiB",
                                    "2MiB", "8MiB", "16MiB", "32MiB",  "128MiB"};
  int64_t hidden = 8192;
  int repetitions = 20;
  bool json = false;
};

// The exchanges of one tensor-parallel group of all ranks, each beside the library's plain sum of the same tensor,
// measured in the same run.
int BenchCollectives(MpiSession& mpi, const CollectiveBenchOptions& options);

struct StepBenchOptions {
  JobOptions job;
  std::vector<int64_t> prefill_tokens = {512};
  int64_t decode_tokens = 64;
  std::vector<int64_t> batches = {1};  // sequences of a micro-batch
};

// Whole steps through the scheduler and all ranks: tokens a second of prompts, and of decoding with job.micro_batches
// batches in flight, each row beside the time in which its weights and cache could be read (launcher/roofline.h).
int BenchSteps(MpiSession& mpi, const StepBenchOptions& options);

}  // namespace ternion
