#pragma once

#define OMPI_SKIP_MPICXX 1  // the C interface alone; the old C++ one needs a library of its own
#include <mpi.h>

#include <cstddef>
#include <memory>
#include <string_view>

#include "absl/status/status.h"
#include "parallel/communicator.h"

namespace ternion {

// The data plane between CPUs. Owns `comm`, which must return errors (MPI_ERRORS_RETURN). Used from the
// thread that started MPI, and destroyed before MPI_Finalize.
//
// Send copies and keeps the copy until MPI is done with it; kResourceExhausted when more than
// `most_pending_bytes` would wait for their receivers, since waiting for them here could wait for ever. A
// collective of more than INT_MAX bytes on one rank is refused with kOutOfRange; point-to-point messages go
// in pieces.
inline constexpr size_t kMostPendingBytes = size_t{2} << 30;
std::unique_ptr<Communicator> MakeMpiCommunicator(MPI_Comm comm,
                                                  size_t most_pending_bytes = kMostPendingBytes);

// kUnavailable with MPI's own words and the name of the call, or OK.
absl::Status MpiStatus(int code, std::string_view call);

}  // namespace ternion
