#pragma once

#include "parallel/mpi_session.h"

namespace ternion {

// The one session of this test program, started in its main.
const MpiSession& TestSession();

}  // namespace ternion
