#pragma once

#include "kernels/backend.h"
#include "parallel/communicator.h"

namespace ternion {

// Checks, as one rank among all that call it, that a communicator does what its header says, on the memory of `backend`.
void CheckAllGatherContract(Communicator& group, Backend& backend);
void CheckAllToAllContract(Communicator& group, Backend& backend);
// Ordered messages of many sizes, all sent before the first is received.
void CheckSendRecvContract(Communicator& group, Backend& backend);

}  // namespace ternion
