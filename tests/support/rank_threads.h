#pragma once

#include "absl/functional/function_ref.h"
#include "parallel/communicator.h"

namespace ternion {

// Runs `body` as every rank of a group, each on a thread of its own. A rank whose body returns early has left
// the group: the others get errors instead of waiting for it.
void RunRanks(int size, absl::FunctionRef<void(Communicator& group)> body);

// The same for a grid of `stages` tensor-parallel groups of `tp` ranks: `group` is the rank's own stage,
// `column` the ranks of the same place in every stage.
void RunGrid(int tp, int stages, absl::FunctionRef<void(Communicator& group, Communicator& column)> body);

}  // namespace ternion
