#pragma once

#include <cstddef>
#include <cstdint>

namespace ternion::cpu {

// A sum over the columns of a row of logits, given in ascending order: of segments of 256 columns, each one's own sum first,
// then the segments in order. The same however the row is shared out in whole segments.
class SegmentSum {
 public:
  void Add(int32_t column, double value) {
    const auto segment = static_cast<size_t>(column) / kSegment;
    if (segment != segment_) Close(segment);
    part_ += value;
  }
  double total() const { return total_ + part_; }

 private:
  static constexpr size_t kSegment = 256;

  void Close(size_t next) {
    total_ += part_;
    part_ = 0;
    segment_ = next;
  }

  size_t segment_ = 0;
  double part_ = 0;
  double total_ = 0;
};

}  // namespace ternion::cpu
