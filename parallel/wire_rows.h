#pragma once

#include <cstdint>

#include "kernels/backend.h"
#include "parallel/tensor_parallel.h"

namespace ternion {

// Float rows to and from their wire format, each row by itself.     x [rows, n], wire [rows,
// WireRowBytes(format, n)]
void EncodeRows(Backend& backend, WireFormat format, TensorView<const float> x, uint8_t* wire);
// x (+)= the decoded rows: added when `add` (lossy formats alone), else stored.
void DecodeRows(Backend& backend, WireFormat format, const uint8_t* wire, bool add, TensorView<float> x);

}  // namespace ternion
