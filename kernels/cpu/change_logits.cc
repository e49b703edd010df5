#include "kernels/cpu/cpu_backend.h"

namespace ternion::cpu {
namespace {

float& LogitOf(TensorView<float> logits, const LogitChange& change) {
  CHECK(change.row >= 0 && change.row < logits.rows() && change.column >= 0 && change.column < logits.cols(),
        "a change lies within the logits");
  return logits.row(change.row)[change.column];
}

}  // namespace

void CpuBackend::ChangeLogits(TensorView<float> logits, absl::Span<const LogitChange> changes_host,
                              TensorView<float> before) {
  CHECK(before.empty() || before.size() == static_cast<int64_t>(changes_host.size()), "ChangeLogits shapes");
  for (size_t i = 0; i < changes_host.size(); ++i) {
    const LogitChange& change = changes_host[i];
    float& x = LogitOf(logits, change);
    if (!before.empty()) before.data()[i] = x;
    x += change.add;
    x = x > 0 ? x / change.repetition : x * change.repetition;
    x -= change.subtract;
  }
}

void CpuBackend::RestoreLogits(TensorView<const float> before, absl::Span<const LogitChange> changes_host,
                               TensorView<float> logits) {
  CHECK(before.size() == static_cast<int64_t>(changes_host.size()), "RestoreLogits shapes");
  for (size_t i = 0; i < changes_host.size(); ++i) LogitOf(logits, changes_host[i]) = before.data()[i];
}

}  // namespace ternion::cpu
