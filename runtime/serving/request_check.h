#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "runtime/serving/request.h"
#include "runtime/serving/scheduler_limits.h"

namespace ternion {

// kInvalidArgument for what can never run within these limits, or makes no sense.
absl::Status CheckRequest(const GenerateRequest& request, const SchedulerLimits& limits);

// Positions of the KV cache that the request takes at most.
int64_t PositionsOf(const GenerateRequest& request, const SchedulerLimits& limits);

}  // namespace ternion
