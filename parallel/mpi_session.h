#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "parallel/communicator.h"

namespace ternion {

// Owns MPI_Init and MPI_Finalize; one object, in main. MPI is called from main's thread alone
// (MPI_THREAD_FUNNELED). Without mpirun it is a world of one rank.
class MpiSession {
 public:
  static absl::StatusOr<std::unique_ptr<MpiSession>> Start(int* argc, char*** argv);
  ~MpiSession();
  MpiSession(const MpiSession&) = delete;
  MpiSession& operator=(const MpiSession&) = delete;

  int rank() const { return rank_; }
  int size() const { return size_; }
  // The rank among those of this host, and their number (MPI_COMM_TYPE_SHARED).
  int local_rank() const { return local_rank_; }
  int local_size() const { return local_size_; }
  const std::string& host() const { return host_; }

  // Every rank's bytes, in rank order; lengths may differ. For start-up: addresses, digests, errors.
  std::vector<std::string> AllGatherStrings(std::string_view mine) const;
  // Rank 0's bytes, on every rank.
  std::string Broadcast(std::string_view from_rank_0) const;

  // A communicator over the ranks that pass the same `color`, ordered by `key`. Called by all ranks.
  absl::StatusOr<std::unique_ptr<Communicator>> Split(int color, int key) const;

  // Ends the whole job at once with this exit status, without waiting for the other ranks.
  [[noreturn]] void Abort(int exit_status) const;

 private:
  MpiSession() = default;

  int rank_ = 0;
  int size_ = 1;
  int local_rank_ = 0;
  int local_size_ = 1;
  std::string host_;
};

}  // namespace ternion
