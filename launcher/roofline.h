#pragma once

#include <cstdint>

#include "kernels/kv.h"
#include "parallel/process_grid.h"
#include "runtime/model/config.h"

namespace ternion {

// What a step reads of a rank's memory at least: its packed weights, norms and scales, the head's table on the last
// stage, and the KV cache of `positions` positions, those of all the step's sequences together.
int64_t StepBytes(const ModelConfig& config, const ProcessGrid& grid, KvFormat format, int64_t positions);

// Seconds between the steps of a pipeline with `micro_batches` of them in flight when every rank reads `bytes_a_second`
// and nothing else takes time: those of the slowest stage, or of all stages where too few steps are in flight.
double RooflineSeconds(const ModelConfig& config, int tp, int pp, KvFormat format, int64_t positions,
                       int micro_batches, double bytes_a_second);

}  // namespace ternion
