#pragma once

#include <cstdint>

// Copies of 16 bytes from global to shared memory that every thread starts for itself, in groups (sm_80 and later).
namespace ternion::cuda {

__device__ __forceinline__ void CopyUnit(uint32_t shared, const void* global) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(shared), "l"(global) : "memory");
}
// Ends a group of copies.
__device__ __forceinline__ void CommitCopies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
// Until at most kGroups of this thread's last groups are on their way.
template <int kGroups>
__device__ __forceinline__ void AwaitCopies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kGroups) : "memory");
}

}  // namespace ternion::cuda
