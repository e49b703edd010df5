#pragma once

#include <cstdint>

#include "absl/status/status.h"

namespace ternion {

// What a rank needs of its host, checked before MPI starts: where it lacks, MPI ends in many words, or with SIGBUS.
// kInvalidArgument says what there is and what would be enough.
absl::Status CheckHostResources();

// Open files: lifts the soft limit to the hard one. Returns the limit.
int64_t RaiseFileLimit();

// The checks themselves. A rank needs `kLeastFiles`, the `ranks` of a host some shared memory each.
inline constexpr int64_t kLeastFiles = 64;
absl::Status CheckFileLimit(int64_t limit);
absl::Status CheckSharedMemory(int64_t free_bytes, int ranks);

}  // namespace ternion
