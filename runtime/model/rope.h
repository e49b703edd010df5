#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"

namespace ternion {

class JsonFields;

// Rotary position embeddings (arXiv 2104.09864), with the scalings that make a model reach further than it was trained.
struct RopeConfig {
  enum class Scaling : uint8_t {
    kNone,
    kLinear,  // frequencies are divided by `factor`
    kLlama3,  // long waves are divided by `factor`, short ones are not, those between partly (Llama 3.1)
  };

  float theta = 1e4f;
  Scaling scaling = Scaling::kNone;
  double factor = 1;
  // kLlama3: waves longer than original_positions / low_factor are long, those shorter than
  // original_positions / high_factor are short.
  double low_factor = 1;
  double high_factor = 4;
  int64_t original_positions = 0;

  bool operator==(const RopeConfig&) const = default;
};

// From rope_theta and rope_scaling of a config.json, or from its rope_parameters. kInvalidArgument; kUnimplemented: another
// scaling.
absl::StatusOr<RopeConfig> ReadRope(const JsonFields& fields);

// Cosines and sines of position * frequency: the angle in float32 as the reference has it, its functions in double.
//                                              [positions, head_dim]: head_dim / 2 cosines, then as many sines
std::vector<float> RotaryTable(const RopeConfig& rope, int64_t positions, int head_dim);

}  // namespace ternion
