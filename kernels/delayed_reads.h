#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "kernels/backend.h"

namespace ternion {

// Small results on their way from the device to the host while later operations are already enqueued: Backend's
// CopyToHost and Synchronize wait for all operations, this for the ones before the copy. First in, first out. Used by
// the backend's thread; it must go before the backend.
class DelayedReads {
 public:
  virtual ~DelayedReads() = default;

  // Copies what the operations called so far leave at `device`. Not to be recorded (Backend::Replay).
  virtual void Start(const void* device, size_t bytes) = 0;
  // Whether the oldest copy has arrived; there is one.
  virtual bool Ready() = 0;
  // Waits for the oldest copy and forgets it.
  virtual std::string Take() = 0;
};

std::unique_ptr<DelayedReads> MakeDelayedReads(Backend& backend);

// Of a backend with a stream.
std::unique_ptr<DelayedReads> MakeCudaDelayedReads(Backend& backend);

}  // namespace ternion
