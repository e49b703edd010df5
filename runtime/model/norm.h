#pragma once

#include "kernels/backend.h"
#include "runtime/model/workspace.h"

namespace ternion {

// y = RmsNorm of whole rows, their squares added by segments of 32 channels; `weight` float32 [1, h].
//                                                                        x, y [rows, h]; y may be x
inline void Norm(Backend& backend, Workspace& workspace, TensorView<const float> x, float eps,
                 const Buffer& weight, TensorView<float> y) {
  constexpr int kSegment = 32;  // divides every model's h
  const auto sums = workspace.segments.As<float>(x.rows(), x.cols() / kSegment);
  backend.SumSquares(x, kSegment, sums);
  backend.RmsNorm(x, sums, x.cols(), eps, weight.As<const float>(1, x.cols()), y);
}

}  // namespace ternion
