#include "kernels/delayed_reads.h"

#include <deque>
#include <utility>

#include "kernels/check.h"

namespace ternion {
namespace {

// The CPU's operations are done when their calls return.
class HostReads final : public DelayedReads {
 public:
  void Start(const void* device, size_t bytes) override {
    arrived_.emplace_back(static_cast<const char*>(device), bytes);
  }
  bool Ready() override { return true; }
  std::string Take() override {
    CHECK(!arrived_.empty(), "a read was started");
    std::string first = std::move(arrived_.front());
    arrived_.pop_front();
    return first;
  }

 private:
  std::deque<std::string> arrived_;
};

}  // namespace

std::unique_ptr<DelayedReads> MakeDelayedReads(Backend& backend) {
  if (backend.stream() != nullptr) return MakeCudaDelayedReads(backend);
  return std::make_unique<HostReads>();
}

}  // namespace ternion
