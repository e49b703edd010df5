#include "parallel/process_grid.h"

#include <cstdint>

#include "absl/strings/str_cat.h"

namespace ternion {

absl::Status CheckWorld(int world, int tp, int pp) {
  if (tp < 1 || pp < 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("tp is ", tp, " and pp is ", pp, "; both must be at least 1"));
  }
  const int64_t needed = int64_t{tp} * pp;
  if (world == needed) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("the job has ", world, " ranks, but tp ", tp, " times pp ",
                                                 pp, " needs ", needed, ": start it with mpirun -np ",
                                                 needed));
}

}  // namespace ternion
