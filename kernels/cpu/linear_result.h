#pragma once

#include <cstdint>

#include "kernels/tensor.h"

namespace ternion::cpu {

// A CHECK of the shapes of Backend::UniformLinear and Backend::DenseLinear.
void CheckLinear(int64_t outputs, int64_t inputs, TensorView<const float> x, TensorView<const float> bias,
                 TensorView<float> y);

// Columns [begin, ...) of y: sums + bias, added to what is there when `add`. Of the sums' columns those beyond y's are left.
//                                                              sums [T, any], y [T, n]
void StoreLinear(TensorView<const float> sums, int64_t begin, TensorView<const float> bias, bool add,
                 TensorView<float> y);

}  // namespace ternion::cpu
