// A step's slices, laid out on the host and copied to the device in one piece.
//
// Recorded kernels hold addresses and grids, so every array has room for the next power of two of its
// elements, and all these rooms together make the shape: a sequence that grows token by token changes it once
// per doubling.
#include "kernels/cuda/kv_slices.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "kernels/check.h"
#include "kernels/cuda/cuda_backend.h"

namespace ternion::cuda {
namespace {

constexpr size_t kAlignment = 64;
constexpr int64_t kLeastTables = 256;
constexpr int64_t kLeastSlices = 16;
// Slices of few tokens are split by chunks of their context, which fills the device; their partial results
// take memory.
constexpr int64_t kMostSplitRows = 64;
constexpr int64_t kMostSliceRecords = 2048;
constexpr int64_t kMostStepRecords = 4096;  // of slices of several tokens

int64_t Room(int64_t n, int64_t least = 0) {
  return static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(std::max(n, least)))) *
         (std::max(n, least) > 0);
}

int64_t Chunks(int64_t last_position) { return last_position / kChunkTokens + 1; }

uint64_t Mix(uint64_t hash, uint64_t value) {  // splitmix64's
  hash += value + 0x9e3779b97f4a7c15u;
  hash = (hash ^ (hash >> 30)) * 0xbf58476d1ce4e5b9u;
  hash = (hash ^ (hash >> 27)) * 0x94d049bb133111ebu;
  return hash ^ (hash >> 31);
}

struct HostSlices {
  std::vector<int32_t> row_position, row_slice, table_begin, tables;
  std::vector<RowRecords> row_records;
  std::vector<WalkPiece> walks;
  std::vector<SplitPiece> splits;
  int64_t records = 0;
  int64_t split_tokens = 0;
  int64_t split_blocks = 0;
  bool whole_slices = true;
};

void AddRows(const KvSlice& slice, int32_t index, HostSlices& all) {
  const size_t end = static_cast<size_t>(slice.row_begin + slice.rows);
  if (all.row_position.size() < end) {
    all.row_position.resize(end, -1);
    all.row_slice.resize(end, -1);
    all.row_records.resize(end, {-1, 0});
  }
  for (int64_t i = 0; i < slice.rows; ++i) {
    all.row_position[slice.row_begin + i] = static_cast<int32_t>(slice.position + i);
    all.row_slice[slice.row_begin + i] = index;
  }
}

void AddWalks(const KvSlice& slice, int32_t table, HostSlices& all) {
  for (int64_t begin = 0; begin < slice.rows; begin += kWalkTokens) {
    const int64_t tokens = std::min<int64_t>(kWalkTokens, slice.rows - begin);
    all.walks.push_back({static_cast<int32_t>(slice.row_begin + begin), static_cast<int32_t>(tokens),
                         static_cast<int32_t>(slice.position + begin), table});
  }
}

void AddSplits(const KvSlice& slice, HostSlices& all) {
  all.whole_slices = all.whole_slices && slice.rows <= kSplitTokens;
  for (int64_t begin = 0; begin < slice.rows; begin += kSplitTokens) {
    const int64_t tokens = std::min<int64_t>(kSplitTokens, slice.rows - begin);
    const int64_t last = slice.position + begin + tokens - 1, chunks = Chunks(last);
    SplitPiece piece = {};
    piece.row = static_cast<int32_t>(slice.row_begin + begin);
    piece.tokens = static_cast<int32_t>(tokens);
    piece.position = static_cast<int32_t>(slice.position + begin);
    piece.settled = static_cast<int32_t>(slice.position);
    for (int64_t chunk = 0; chunk < chunks; ++chunk) {
      piece.chunk = static_cast<int32_t>(chunk);
      piece.record = static_cast<int32_t>(all.records + chunk * tokens);
      for (int64_t i = 0; i < kChunkBlocks; ++i) {
        const auto block = static_cast<size_t>(chunk * kChunkBlocks + i);
        piece.blocks[i] = block < slice.block_table.size() ? slice.block_table[block] : 0;
      }
      all.splits.push_back(piece);
    }
    all.split_tokens = std::max(all.split_tokens, tokens);
    all.split_blocks = std::max(all.split_blocks, std::min<int64_t>(kChunkBlocks, last / kKvBlockTokens + 1));
    if (chunks == 1) continue;
    for (int64_t i = 0; i < tokens; ++i) {
      all.row_records[piece.row + i] = {static_cast<int32_t>(all.records + i), static_cast<int32_t>(tokens)};
    }
    all.records += chunks * tokens;
  }
}

HostSlices Arrange(absl::Span<const KvSlice> slices) {
  HostSlices all;
  int64_t records_left = kMostStepRecords;
  for (const KvSlice& slice : slices) {
    CHECK(slice.row_begin >= 0 && slice.rows >= 0 && slice.position >= 0,
          "a slice before the first row or position");
    const auto table = static_cast<int32_t>(all.tables.size());
    AddRows(slice, static_cast<int32_t>(all.table_begin.size()), all);
    all.table_begin.push_back(table);
    if (slice.rows == 0) continue;
    const int64_t last = slice.position + slice.rows - 1;
    const size_t blocks = std::min<size_t>(slice.block_table.size(), last / kKvBlockTokens + 1);
    all.tables.insert(all.tables.end(), slice.block_table.begin(), slice.block_table.begin() + blocks);
    const int64_t records = slice.rows * Chunks(last);
    if (slice.rows == 1) {
      AddSplits(slice, all);
    } else if (slice.rows <= kMostSplitRows && records <= std::min(kMostSliceRecords, records_left)) {
      AddSplits(slice, all);
      records_left -= records;
    } else {
      AddWalks(slice, table, all);
    }
  }
  if (!all.splits.empty()) all.splits[0].count = static_cast<int32_t>(all.splits.size());
  std::stable_sort(all.walks.begin(), all.walks.end(), [](const WalkPiece& a, const WalkPiece& b) {
    return a.position + a.tokens > b.position + b.tokens;
  });
  return all;
}

// Puts `values` behind what is in `bytes`, with room for `room` of them; where.
template <typename T>
size_t Place(const std::vector<T>& values, int64_t room, std::vector<char>& bytes) {
  const size_t offset = bytes.size();
  bytes.resize(offset + (room * sizeof(T) + kAlignment - 1) / kAlignment * kAlignment);
  if (!values.empty()) std::memcpy(bytes.data() + offset, values.data(), values.size() * sizeof(T));
  return offset;
}

}  // namespace

KvSlices UploadedSlices::Upload(absl::Span<const KvSlice> slices_host, StagingRing& staging) {
  const HostSlices all = Arrange(slices_host);
  const auto rows = static_cast<int64_t>(all.row_position.size());
  const int64_t slices = Room(all.table_begin.size(), kLeastSlices),
                tables = Room(all.tables.size(), kLeastTables);
  plan_ = {Room(all.walks.size()), Room(all.splits.size()), Room(all.split_tokens),
           Room(all.split_blocks), Room(all.records),       all.whole_slices && all.walks.empty()};
  bytes_.clear();
  const size_t places[] = {Place(all.row_position, rows, bytes_),  Place(all.row_slice, rows, bytes_),
                           Place(all.table_begin, slices, bytes_), Place(all.tables, tables, bytes_),
                           Place(all.walks, plan_.walks, bytes_),  Place(all.splits, plan_.splits, bytes_),
                           Place(all.row_records, rows, bytes_)};
  char* const base = static_cast<char*>(memory_.Reserve(bytes_.size()));
  staging.UploadTo(base, bytes_.data(), bytes_.size());
  const auto at = [&](int place) { return reinterpret_cast<const int32_t*>(base + places[place]); };
  device_ = {
      at(0), at(1), reinterpret_cast<const RowRecords*>(at(6)), at(2),
      at(3), rows,  reinterpret_cast<const WalkPiece*>(at(4)),  reinterpret_cast<const SplitPiece*>(at(5))};
  shape_ = Mix(0, reinterpret_cast<uintptr_t>(base));
  for (int64_t part : {rows, slices, tables, plan_.walks, plan_.splits, plan_.split_tokens,
                       plan_.split_blocks, plan_.records, int64_t{plan_.whole_slices}}) {
    shape_ = Mix(shape_, static_cast<uint64_t>(part));
  }
  const auto [least, most] = std::minmax_element(all.tables.begin(), all.tables.end());
  least_block_ = all.tables.empty() ? 0 : *least;
  most_block_ = all.tables.empty() ? -1 : *most;
  complete_ = std::all_of(slices_host.begin(), slices_host.end(), [](const KvSlice& slice) {
    const int64_t positions = static_cast<int64_t>(slice.block_table.size()) * kKvBlockTokens;
    return slice.rows == 0 || slice.position + slice.rows <= positions;
  });
  return {slices_host, shape_};
}

void UploadedSlices::CheckCache(const KvSlices& slices, int64_t rows, int64_t blocks) const {
  CHECK(slices.shape == shape_, "slices of an earlier upload");
  CHECK(device_.rows <= rows, "a slice outside the step");
  CHECK(complete_, "the block table ends before the slice");
  CHECK(least_block_ >= 0 && most_block_ < blocks, "a block outside the cache");
}

KvSlices CudaBackend::UploadSlices(absl::Span<const KvSlice> slices_host) {
  return slices_.Upload(slices_host, staging_);
}

}  // namespace ternion::cuda
