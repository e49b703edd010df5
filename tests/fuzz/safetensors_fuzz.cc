// A .safetensors file: what its header promises of each tensor is read to the last byte.
#include <sys/mman.h>
#include <unistd.h>

#include <string>

#include "kernels/check.h"
#include "runtime/checkpoint/safetensors.h"

namespace {

// A file in memory, reached by a path.
class MemoryFile {
 public:
  MemoryFile(const uint8_t* data, size_t size) : descriptor_(memfd_create("fuzz.safetensors", MFD_CLOEXEC)) {
    CHECK(descriptor_ >= 0 && write(descriptor_, data, size) == static_cast<ssize_t>(size),
          "memory is a file");
  }
  ~MemoryFile() { close(descriptor_); }
  std::string path() const { return "/proc/self/fd/" + std::to_string(descriptor_); }

 private:
  const int descriptor_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const MemoryFile memory(data, size);
  const auto file = ternion::SafetensorsFile::Open(memory.path());
  if (!file.ok()) return 0;
  volatile unsigned sum = 0;
  for (const ternion::FileTensor& tensor : (*file)->tensors()) {
    for (const std::byte byte : tensor.data) sum = sum + static_cast<unsigned>(byte);
  }
  return 0;
}
