// Stands in for kernels/cuda in a build without it.
#include "kernels/backend.h"

namespace ternion {

absl::StatusOr<std::unique_ptr<Backend>> MakeCudaBackend(int) {
  return absl::UnavailableError("this build has no CUDA backend; use --device cpu");
}

}  // namespace ternion
