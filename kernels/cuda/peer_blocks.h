#pragma once

#include <algorithm>
#include <cstdint>

#include "absl/types/span.h"
#include "kernels/cuda/peer_memory.h"
#include "kernels/peer_exchange.h"

namespace ternion::cuda {

// Inboxes for any number of rows, as kernels see them: a section for each other member, which it fills unit by unit. All
// words are empty where nothing has arrived.
struct BlockInbox {
  PeerInboxes peers;
  int64_t begin = 0;  // words into every inbox; [member but the inbox's own][section_words]
  int64_t section_words = 0;
};

// Rows of a multiple of so many channels: whole groups of a wire format, so that rows are taken as one long one.
inline constexpr int64_t kBlockRowUnit = 128;

// How rows go through the sections: as many of each member at a time as fit, the rows of one member as one long row, in
// units of a warp, each with a float for every row that it touches.
struct UnitPlan {
  int64_t channels;  // of a unit
  int64_t words;     // of a unit's codes and what belongs to them; a multiple of 4
  int64_t n;         // channels of a row

  int64_t Stride() const { return words + (channels / n + 2 + 3) / 4 * 4; }
  // Rows of a member that go at a time.
  int64_t SliceRows(const BlockInbox& inbox) const { return inbox.section_words / Stride() * channels / n; }
};

// Each member's rows of an exchange that go at a time.
struct SlicedRows {
  int64_t first[kMostPeers] = {};  // row of the slice
  int64_t rows[kMostPeers] = {};   // of the slice
  int64_t most = 0;                // of any member

  // From each member's row `begin` on.
  static SlicedRows Of(absl::Span<const Range> owned, int64_t begin, int64_t slice_rows) {
    SlicedRows slice;
    for (size_t r = 0; r < owned.size(); ++r) {
      slice.first[r] = std::min(owned[r].begin + begin, owned[r].end);
      slice.rows[r] = std::min(owned[r].begin + begin + slice_rows, owned[r].end) - slice.first[r];
      slice.most = std::max(slice.most, slice.rows[r]);
    }
    return slice;
  }
};

inline int64_t MostRowsOwned(absl::Span<const Range> owned) {
  int64_t most = 0;
  for (const Range& rows : owned) most = std::max(most, rows.size());
  return most;
}

}  // namespace ternion::cuda
