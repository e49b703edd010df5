#include "launcher/bench.h"
#include "launcher/bench_weights.h"

#include <memory>
#include <string>

#include "launcher/bench_serve.h"
#include "launcher/commands.h"

namespace ternion {
namespace {

void AddAttention(CLI::App& bench, Command& chosen) {
  auto options = std::make_shared<AttentionBenchOptions>();
  CLI::App* command = bench.add_subcommand(
      "attention", "decode attention at the model's shape, all KV cache formats side by side");
  AddJobOptions(*command, options->job);
  AddOption(*command, "--kv-format", options->formats,
            "KV cache format beside f16; may be given several times; default: all packed ones");
  AddOption(*command, "--batch", options->batches, "sequences; may be given several times")
      ->check(CLI::PositiveNumber);
  AddOption(*command, "--context", options->context, "tokens of a sequence")->check(CLI::PositiveNumber);
  AddOption(*command, "--repetitions", options->repetitions, "measurements; the median counts")
      ->check(CLI::PositiveNumber);
  command->callback([options, &chosen] {
    chosen.run = [options](MpiSession& mpi) { return BenchAttention(mpi, *options); };
  });
}

void AddCollectives(CLI::App& bench, Command& chosen) {
  auto options = std::make_shared<CollectiveBenchOptions>();
  CLI::App* command = bench.add_subcommand(
      "collectives",
      "what tensor-parallel ranks exchange, beside a plain sum by NCCL or MPI of the same tensor");
  command->footer(
      "Start it with mpirun, one rank for each device: mpirun -np 2 ternion bench collectives\n"
      "exact        int32 sums, added to the residual while tokens are few\n"
      "int8, int4   rows rounded on their way; each rank gets the sum of its own rows\n"
      "+ gather     then everybody gets all rows as INT4 codes, which the next matmul reads\n"
      "norm         exact, then RMSNorm and INT4 codes, against the library's int32 sum and a kernel for the "
      "rest\n"
      "GB/s         bytes of the tensor in fp16 by the time\n"
      "ratio        the plain sum's time by ours: above 1 ours is faster");
  command->add_option("--config", "TOML file with options of these names")->type_name("FILE");
  AddOption(*command, "--device", options->device, "auto, cpu, or cuda: a GPU for each rank")
      ->check(CLI::IsMember({"auto", "cpu", "cuda"}));
  AddOption(*command, "--threads", options->threads, "CPU threads of a rank; 0: the cores it may use")
      ->check(CLI::NonNegativeNumber);
  AddOption(*command, "--size", options->sizes,
            "bytes of a tensor in fp16 (32KiB, 16MiB); may be given several times");
  AddOption(*command, "--hidden", options->hidden, "channels of a row, a multiple of 128")
      ->check(CLI::PositiveNumber);
  AddOption(*command, "--repetitions", options->repetitions, "measurements; the median counts")
      ->check(CLI::PositiveNumber);
  command->add_flag("--json", options->json, "print one JSON object");
  command->callback([options, &chosen] {
    chosen.run = [options](MpiSession& mpi) { return BenchCollectives(mpi, *options); };
  });
}

}  // namespace

void AddBench(CLI::App& app, Command& chosen) {
  CLI::App* bench = app.add_subcommand("bench",
                                       "kernels, attention, exchanges and steps, each against the limit "
                                       "measured beside it; a server under load");
  bench->require_subcommand(1);

  auto kernels = std::make_shared<KernelBenchOptions>();
  CLI::App* kernels_command = bench->add_subcommand("kernels", "ternary matmuls at the model's shapes");
  AddJobOptions(*kernels_command, kernels->job);
  AddOption(*kernels_command, "--shape", kernels->shapes,
            "a matmul beside the model's, OUTPUTSxINPUTS; may be given several times");
  AddOption(
      *kernels_command, "--weights", kernels->weights,
      "beside each ternary matmul one of these weights, with its time by the ternary one's: int2, int3, int4 "
      "(groups of 64), bf16, f16; may be given several times")
      ->check(CLI::IsMember(BenchWeightNames()));
  AddOption(*kernels_command, "--tokens", kernels->tokens, "tokens of a matmul; may be given several times")
      ->check(CLI::PositiveNumber);
  AddOption(*kernels_command, "--repetitions", kernels->repetitions, "measurements; the median counts")
      ->check(CLI::PositiveNumber);
  kernels_command->callback([kernels, &chosen] {
    chosen.run = [kernels](MpiSession& mpi) { return BenchKernels(mpi, *kernels); };
  });

  AddAttention(*bench, chosen);
  AddCollectives(*bench, chosen);
  AddBenchServe(*bench, chosen);

  auto steps = std::make_shared<StepBenchOptions>();
  CLI::App* steps_command = bench->add_subcommand("steps", "prefill and decode steps of the whole model");
  AddJobOptions(*steps_command, steps->job);
  AddTraceOption(*steps_command, steps->job);
  steps->job.no_prefix_caching = true;
  AddOption(*steps_command, "--prefill", steps->prefill_tokens, "prompt tokens; may be given several times");
  AddOption(*steps_command, "--decode", steps->decode_tokens, "tokens to decode");
  AddOption(*steps_command, "--batch", steps->batches,
            "sequences of a micro-batch that decodes; may be given several times");
  AddOption(*steps_command, "--micro-batches", steps->job.micro_batches,
            "micro-batches in flight; 0: as many as stages")
      ->check(CLI::NonNegativeNumber);
  steps_command->callback(
      [steps, &chosen] { chosen.run = [steps](MpiSession& mpi) { return BenchSteps(mpi, *steps); }; });
}

}  // namespace ternion
