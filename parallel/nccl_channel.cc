#include "parallel/nccl_channel.h"

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "absl/strings/str_cat.h"
#include "kernels/check.h"
#include "kernels/status.h"

namespace ternion {
namespace {

constexpr std::chrono::seconds kPatience{30};
constexpr int kEagerPolls = 2000;  // a call in the background takes some ten microseconds
constexpr std::chrono::microseconds kPollPause{200};

absl::Status Failure(const char* call, ncclResult_t result) {
  std::string message = absl::StrCat(call, " failed: ", ncclGetErrorString(result));
  const char* const detail = ncclGetLastError(nullptr);
  if (detail != nullptr && *detail != '\0') absl::StrAppend(&message, ": ", detail);
  return absl::UnavailableError(message);
}

// Multicast objects of the NVLink switch cannot be made everywhere, and our exchanges gain nothing from them. What the
// user has set is kept. NCCL reads it at its first call.
void PrepareEnvironment() { setenv("NCCL_NVLS_ENABLE", "0", /*overwrite=*/0); }

}  // namespace

absl::StatusOr<std::string> NewNcclId() {
  PrepareEnvironment();
  ncclUniqueId id;
  if (const ncclResult_t result = ncclGetUniqueId(&id); result != ncclSuccess) {
    return Failure("ncclGetUniqueId", result);
  }
  return std::string(id.internal, sizeof(id.internal));
}

absl::StatusOr<std::unique_ptr<NcclChannel>> NcclChannel::Join(const std::string& id, int rank, int size,
                                                               int most_blocks) {
  PrepareEnvironment();
  ncclUniqueId unique;
  CHECK(id.size() == sizeof(unique.internal), "an id is what NewNcclId made");
  std::memcpy(unique.internal, id.data(), id.size());
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;
  if (most_blocks > 0) config.maxCTAs = most_blocks;
  std::unique_ptr<NcclChannel> self(new NcclChannel);
  const ncclResult_t result = ncclCommInitRankConfig(&self->comm_, size, unique, rank, &config);
  TERNION_RETURN_IF_ERROR(self->Finish("ncclCommInitRankConfig", result));
  return self;
}

NcclChannel::~NcclChannel() {
  if (comm_ == nullptr) return;
  BeginEnd();
  if (!failed_ && Finish("ncclCommFinalize", ended_).ok()) {
    ncclCommDestroy(comm_);
  } else {
    ncclCommAbort(comm_);
  }
}

void NcclChannel::BeginEnd() {
  if (comm_ == nullptr || failed_ || ending_) return;
  ending_ = true;
  ended_ = ncclCommFinalize(comm_);
}

absl::Status NcclChannel::Ready() {
  if (failed_) return absl::UnavailableError("NCCL failed before, and this group is unusable");
  ncclResult_t state = ncclSuccess;
  const ncclResult_t asked = ncclCommGetAsyncError(comm_, &state);
  return Finish("an operation of NCCL", asked == ncclSuccess ? state : asked);
}

absl::Status NcclChannel::Finish(const char* call, ncclResult_t result) {
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  for (int polls = 0; result == ncclInProgress; ++polls) {
    if (std::chrono::steady_clock::now() > deadline) {
      failed_ = true;
      return absl::UnavailableError(absl::StrCat(call, " was not done after ", kPatience.count(),
                                                 " seconds: a peer is gone or cannot be reached"));
    }
    if (polls < kEagerPolls) {
      std::this_thread::yield();
    } else {
      std::this_thread::sleep_for(kPollPause);
    }
    const ncclResult_t asked = ncclCommGetAsyncError(comm_, &result);
    if (asked != ncclSuccess) result = asked;
  }
  if (result == ncclSuccess) return absl::OkStatus();
  failed_ = true;
  return Failure(call, result);
}

}  // namespace ternion
