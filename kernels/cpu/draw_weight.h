#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/backend.h"

namespace ternion::cpu {

// What a logit weighs in a draw, the largest of its row being `most`; 0 under the share `min_p` of the largest one's.
inline double DrawWeight(float logit, double most, float temperature, float min_p) {
  const double weight = std::exp((static_cast<double>(logit) - most) / static_cast<double>(temperature));
  return weight < static_cast<double>(min_p) ? 0 : weight;
}

// Of each row.
inline std::vector<double> LargestLogits(TensorView<const Candidate> lists) {
  std::vector<double> largest;
  for (int64_t t = 0; t < lists.rows(); ++t) {
    const Candidate* const row = lists.row(t);
    const auto less = [](const Candidate& a, const Candidate& b) { return a.logit < b.logit; };
    largest.push_back(std::max_element(row, row + lists.cols(), less)->logit);
  }
  return largest;
}

}  // namespace ternion::cpu
