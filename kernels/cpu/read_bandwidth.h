#pragma once

#include <cstddef>

namespace ternion::cpu {

// The rate at which `threads` threads together read memory, in bytes per second: the floor under any kernel
// that streams weights. A buffer of `bytes` (take many times the last-level cache) is summed in slices with
// plain loads; the result is the rate that the best tenth of the slices reaches, which other load on the
// machine disturbs least. 0 if the buffer cannot be had.
double MeasureReadBandwidth(int threads, size_t bytes);

}  // namespace ternion::cpu
