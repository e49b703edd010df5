#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "kernels/backend.h"
#include "parallel/communicator.h"
#include "parallel/mpi_session.h"

namespace ternion {

// Whether this build has NCCL, which several CUDA devices need.
bool HasNccl();

// What the members of a group will call; each takes device memory of its own.
enum class NcclUse {
  kCollectives,   // AllGather, AllToAll
  kPointToPoint,  // Send, Recv
  kAll,
};

// The data plane between CUDA devices, one a rank, over the ranks that pass the same `color`, ordered by `key`. Called by
// all ranks of the job, on MPI's thread; all connections are made here. kUnavailable when a peer or NCCL failed, with
// NCCL's own words, or did not answer in 30 seconds.
//
// An operation is enqueued on backend.stream() and returns before it is done: it sees what was enqueued there before,
// and what is enqueued there later sees its results. It may be recorded (Backend::Replay). The communicator must
// outlive what was recorded with it, so it goes after the backend, which it no longer uses then.
//
// Point to point leads from a rank to the next one alone, and from the last to the first. Send copies `data`, and the
// copy leaves on a stream of its own, so what follows on backend.stream() does not wait for the receiver; there are as
// many copies as messages on their way, and kResourceExhausted where they take all memory. In a recorded step a Send is
// a part of the step, which ends when the message has left.
absl::StatusOr<std::unique_ptr<Communicator>> MakeNcclCommunicator(Backend& backend, const MpiSession& mpi,
                                                                   int color, int key, NcclUse use);

}  // namespace ternion
