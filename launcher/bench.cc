#include "launcher/bench.h"

#include <memory>
#include <string>

#include "launcher/commands.h"

namespace ternion {

void AddBench(CLI::App& app, Command& chosen) {
  CLI::App* bench =
      app.add_subcommand("bench", "kernels and steps, each against the limit measured beside it");
  bench->require_subcommand(1);

  auto kernels = std::make_shared<KernelBenchOptions>();
  CLI::App* kernels_command = bench->add_subcommand("kernels", "ternary matmuls at the model's shapes");
  AddJobOptions(*kernels_command, kernels->job);
  AddOption(*kernels_command, "--shape", kernels->shapes,
            "a matmul beside the model's, OUTPUTSxINPUTS; may be given several times");
  AddOption(*kernels_command, "--tokens", kernels->tokens, "tokens of a matmul; may be given several times")
      ->check(CLI::PositiveNumber);
  AddOption(*kernels_command, "--repetitions", kernels->repetitions, "measurements; the median counts")
      ->check(CLI::PositiveNumber);
  kernels_command->callback([kernels, &chosen] {
    chosen.run = [kernels](MpiSession& mpi) { return BenchKernels(mpi, *kernels); };
  });

  auto steps = std::make_shared<StepBenchOptions>();
  CLI::App* steps_command = bench->add_subcommand("steps", "prefill and decode steps of the whole model");
  AddJobOptions(*steps_command, steps->job);
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
