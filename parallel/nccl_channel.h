#pragma once

#include <nccl.h>

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace ternion {

// A new group's id, as bytes that travel to its members.
absl::StatusOr<std::string> NewNcclId();

// One communicator of NCCL's, a member of which this rank is. It does not block: a call may go on in the background, and
// what it enqueues is enqueued when Finish returns.
class NcclChannel {
 public:
  // Waits for all members, 30 seconds at most. `most_blocks`: of an operation on the device; 0: NCCL decides.
  static absl::StatusOr<std::unique_ptr<NcclChannel>> Join(const std::string& id, int rank, int size,
                                                           int most_blocks);
  ~NcclChannel();
  NcclChannel(const NcclChannel&) = delete;
  NcclChannel& operator=(const NcclChannel&) = delete;

  ncclComm_t get() const { return comm_; }
  // Begins what the destructor waits for: that all members end the channel. A rank of several channels begins with all of
  // them before it destroys one, since its peers may destroy them in another order.
  void BeginEnd();
  // kUnavailable when something has failed since the last call; to be asked before each.
  absl::Status Ready();
  // Waits until the call that returned `result` has enqueued its work, 30 seconds at most. kUnavailable when it failed.
  absl::Status Finish(const char* call, ncclResult_t result);

 private:
  NcclChannel() = default;

  ncclComm_t comm_ = nullptr;
  bool failed_ = false;
  bool ending_ = false;
  ncclResult_t ended_ = ncclSuccess;
};

}  // namespace ternion
