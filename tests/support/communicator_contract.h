#pragma once

#include "parallel/communicator.h"

namespace ternion {

// Checks, as one rank among all that call it, that a communicator does what its header says.
void CheckAllGatherContract(Communicator& group);
void CheckAllToAllContract(Communicator& group);
// Ordered messages of many sizes, all sent before the first is received.
void CheckSendRecvContract(Communicator& group);

}  // namespace ternion
