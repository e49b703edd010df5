#pragma once

#include <cstdint>

namespace ternion {

// The most heap and anonymous memory that was held at one time since the object was made, over what was held then: every
// malloc, aligned or not, every operator new, every anonymous mmap of the program's own code and libraries linked into it
// (and never less for an munmap). A file that is mapped costs nothing. Only in programs that are linked as
// tests/CMakeLists.txt links hostile_models_test.
class CountedAllocations {
 public:
  CountedAllocations();
  int64_t peak_bytes() const;

 private:
  int64_t before_;
};

}  // namespace ternion
