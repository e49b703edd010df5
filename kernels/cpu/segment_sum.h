#pragma once

#include <cstdint>

#include "kernels/backend.h"

namespace ternion::cpu {

// A sum over the columns of a row of logits, given in ascending order: of segments of kVocabSegment columns, each one's own sum first,
// then the segments in order. The same however the row is shared out in whole segments.
class SegmentSum {
 public:
  void Add(int32_t column, double value) {
    const int64_t segment = column / kVocabSegment;
    if (segment != segment_) Close(segment);
    part_ += value;
  }
  double total() const { return total_ + part_; }

 private:
  void Close(int64_t next) {
    total_ += part_;
    part_ = 0;
    segment_ = next;
  }

  int64_t segment_ = 0;
  double part_ = 0;
  double total_ = 0;
};

}  // namespace ternion::cpu
