#include "runtime/checkpoint/linear_loader.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "kernels/check.h"
#include "kernels/status.h"

namespace ternion {
namespace {

constexpr uint8_t kZeroCode = 1;  // trit 0
constexpr uint8_t kMostCode = 2;

// Reads one share and watches its codes on the way.
class WatchedShare {
 public:
  WatchedShare(std::unique_ptr<TernaryReader> reader, const MatrixShare& share)
      : reader_(std::move(reader)), share_(&share) {}

  const MatrixShare& share() const { return *share_; }
  const TernaryReader& reader() const { return *reader_; }

  void Read(int64_t row, absl::Span<uint8_t> codes) {
    const int64_t output = share_->rows.begin + row;
    reader_->Read(output, share_->columns, codes);
    uint8_t largest = 0;
    uint8_t not_zero = 0;
    for (const uint8_t code : codes) {
      largest = std::max(largest, code);
      not_zero |= code ^ kZeroCode;
    }
    any_weight_ |= not_zero != 0;
    if (largest > kMostCode) Spoil(output, codes);
  }

  absl::Status fault() const {
    if (spoilt_output_ >= 0) {
      return absl::DataLossError(absl::StrCat(reader_->Where(), ": output channel ", spoilt_output_,
                                              " holds the code 3; a packed trit is 0, 1 or 2"));
    }
    if (any_weight_) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat(
        reader_->Where(), ": all weights of [", share_->rows.size(), ", ", share_->columns.size(),
        "] on this rank are zero: the checkpoint is broken, take another upload of it"));
  }

 private:
  // The backend packs on, and must see codes that it knows.
  void Spoil(int64_t output, absl::Span<uint8_t> codes) {
    if (spoilt_output_ < 0) spoilt_output_ = output;
    std::fill(codes.begin(), codes.end(), kZeroCode);
  }

  std::unique_ptr<TernaryReader> reader_;
  const MatrixShare* share_;
  bool any_weight_ = false;
  int64_t spoilt_output_ = -1;
};

absl::StatusOr<std::vector<WatchedShare>> OpenShares(ModelTensors& tensors,
                                                     absl::Span<const MatrixShare> shares) {
  std::vector<WatchedShare> open;
  for (const MatrixShare& share : shares) {
    CHECK(share.columns == shares.front().columns, "shares that are packed together have the same inputs");
    TERNION_ASSIGN_OR_RETURN(auto reader, tensors.Ternary(share.name, share.outputs, share.inputs));
    open.emplace_back(std::move(reader), share);
  }
  return open;
}

absl::StatusOr<PackedTernary> Pack(Backend& backend, TernaryLayout layout, std::vector<WatchedShare>& open,
                                   int64_t outputs) {
  auto current = open.begin();
  int64_t first_output = 0;  // of the current share
  const auto read = [&](int64_t output, absl::Span<uint8_t> codes) {
    while (output >= first_output + current->share().rows.size()) {
      first_output += current->share().rows.size();
      ++current;
    }
    current->Read(output - first_output, codes);
  };
  return backend.PackTernary(layout, outputs, open.front().share().columns.size(), read);
}

}  // namespace

absl::Status Annotate(const absl::Status& status, const std::string& where) {
  return absl::Status(status.code(), absl::StrCat(where, ": ", status.message()));
}

absl::StatusOr<Buffer> Upload(Backend& backend, absl::Span<const float> values) {
  if (values.empty()) return Buffer();
  const size_t bytes = values.size() * sizeof(float);
  TERNION_ASSIGN_OR_RETURN(Buffer buffer, backend.Allocate(bytes));
  backend.CopyFromHost(buffer.data(), values.data(), bytes);
  backend.Synchronize();
  return buffer;
}

absl::StatusOr<TernaryLinear> LoadLinear(ModelTensors& tensors, Backend& backend, TernaryLayout layout,
                                         absl::Span<const MatrixShare> shares) {
  TERNION_ASSIGN_OR_RETURN(std::vector<WatchedShare> open, OpenShares(tensors, shares));
  std::vector<float> scales;  // [1, outputs]
  for (const WatchedShare& share : open) {
    scales.insert(scales.end(), static_cast<size_t>(share.share().rows.size()), share.reader().scale());
  }
  auto packed = Pack(backend, layout, open, static_cast<int64_t>(scales.size()));
  if (!packed.ok()) return Annotate(packed.status(), open.front().reader().Where());
  for (const WatchedShare& share : open) TERNION_RETURN_IF_ERROR(share.fault());
  TERNION_ASSIGN_OR_RETURN(Buffer scale, Upload(backend, scales));
  return TernaryLinear{*std::move(packed), std::move(scale)};
}

}  // namespace ternion
