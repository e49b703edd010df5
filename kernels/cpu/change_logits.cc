#include "kernels/cpu/cpu_backend.h"

namespace ternion::cpu {

void CpuBackend::ChangeLogits(TensorView<float> logits, absl::Span<const LogitChange> changes_host) {
  for (const LogitChange& change : changes_host) {
    CHECK(
        change.row >= 0 && change.row < logits.rows() && change.column >= 0 && change.column < logits.cols(),
        "ChangeLogits: a change outside the logits");
    float& x = logits.row(change.row)[change.column];
    x += change.add;
    x = x > 0 ? x / change.repetition : x * change.repetition;
    x -= change.subtract;
  }
}

}  // namespace ternion::cpu
