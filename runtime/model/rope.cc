#include "runtime/model/rope.h"

#include <cmath>
#include <numbers>
#include <string>

#include "kernels/status.h"
#include "runtime/checkpoint/json.h"

namespace ternion {
namespace {

constexpr double kMostTheta = 1e12;
constexpr double kMostFactor = 1e6;
constexpr int64_t kMostPositions = int64_t{1} << 28;

absl::Status ReadLlama3(const JsonFields& fields, RopeConfig& rope) {
  TERNION_ASSIGN_OR_RETURN(rope.low_factor, fields.Number("low_freq_factor", 0, kMostFactor));
  TERNION_ASSIGN_OR_RETURN(rope.high_factor, fields.Number("high_freq_factor", 0, kMostFactor));
  if (rope.high_factor <= rope.low_factor) {
    return fields.Wrong("high_freq_factor", "it must be above low_freq_factor");
  }
  TERNION_ASSIGN_OR_RETURN(rope.original_positions,
                           fields.Int("original_max_position_embeddings", 1, kMostPositions));
  return absl::OkStatus();
}

// Older files call the kind `type`.
absl::Status ReadScaling(const JsonFields& fields, RopeConfig& rope) {
  const char* const key = fields.Has("rope_type") ? "rope_type" : "type";
  const nlohmann::json* kind = fields.Find(key);
  if (kind != nullptr && *kind == "default") return absl::OkStatus();
  if (kind == nullptr || (*kind != "linear" && *kind != "llama3")) {
    return fields.Unsupported(key, "RoPE may be scaled by \"linear\" or \"llama3\"");
  }
  rope.scaling = *kind == "linear" ? RopeConfig::Scaling::kLinear : RopeConfig::Scaling::kLlama3;
  TERNION_ASSIGN_OR_RETURN(rope.factor, fields.Number("factor", 0, kMostFactor));
  return rope.scaling == RopeConfig::Scaling::kLlama3 ? ReadLlama3(fields, rope) : absl::OkStatus();
}

double Scaled(const RopeConfig& rope, double frequency) {
  if (rope.scaling == RopeConfig::Scaling::kNone) return frequency;
  if (rope.scaling == RopeConfig::Scaling::kLinear) return frequency / rope.factor;
  // Waves that the training's context held.
  const double waves = static_cast<double>(rope.original_positions) * frequency / (2 * std::numbers::pi);
  if (waves < rope.low_factor) return frequency / rope.factor;
  if (waves > rope.high_factor) return frequency;
  const double whole = (waves - rope.low_factor) / (rope.high_factor - rope.low_factor);
  return (1 - whole) * frequency / rope.factor + whole * frequency;
}

}  // namespace

absl::StatusOr<RopeConfig> ReadRope(const JsonFields& fields) {
  RopeConfig rope;
  // Newer files keep all of it in rope_parameters.
  if (fields.Has("rope_parameters")) {
    TERNION_ASSIGN_OR_RETURN(const JsonFields parameters, fields.Object("rope_parameters"));
    TERNION_ASSIGN_OR_RETURN(rope.theta, parameters.Number("rope_theta", 0, kMostTheta));
    if (parameters.Has("rope_type")) TERNION_RETURN_IF_ERROR(ReadScaling(parameters, rope));
    return rope;
  }
  TERNION_ASSIGN_OR_RETURN(rope.theta, fields.Number("rope_theta", 0, kMostTheta));
  if (!fields.Has("rope_scaling")) return rope;
  TERNION_ASSIGN_OR_RETURN(const JsonFields scaling, fields.Object("rope_scaling"));
  TERNION_RETURN_IF_ERROR(ReadScaling(scaling, rope));
  return rope;
}

std::vector<float> RotaryTable(const RopeConfig& rope, int64_t positions, int head_dim) {
  const int half = head_dim / 2;
  std::vector<float> table(positions * head_dim);
  for (int i = 0; i < half; ++i) {
    const double plain = std::pow(static_cast<double>(rope.theta), -static_cast<double>(i) / half);
    const auto frequency = static_cast<float>(Scaled(rope, plain));
    for (int64_t p = 0; p < positions; ++p) {
      const float angle = static_cast<float>(p) * frequency;
      table[p * head_dim + i] = static_cast<float>(std::cos(static_cast<double>(angle)));
      table[p * head_dim + half + i] = static_cast<float>(std::sin(static_cast<double>(angle)));
    }
  }
  return table;
}

}  // namespace ternion
