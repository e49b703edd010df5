// A rank that is lost as soon as MPI has started, or (with an argument) this program's part of it, for tests of the other ranks.
#include <mpi.h>

#include <csignal>

#include "parallel/mpi_session.h"

int main(int argc, char** argv) {
  if (argc == 1) {
    MPI_Init(&argc, &argv);
    std::raise(SIGKILL);
  }
  const auto session = ternion::MpiSession::Start(&argc, &argv);
  std::raise(SIGKILL);
}
