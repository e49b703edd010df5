#pragma once

#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "runtime/text/bpe_alphabet.h"
#include "runtime/text/json_node.h"
#include "runtime/text/vocabulary.h"

namespace ternion {

// Byte-pair encoding of one word: its bytes or characters are the first symbols; the adjacent pair whose merge comes first
// in the list (the leftmost of equals) becomes one symbol, until no pair has a merge. Immutable.
class Bpe {
 public:
  // Is the `model` of a tokenizer.json one for this class? kUnimplemented.
  static absl::Status CheckType(const JsonNode& model);
  // The `model` of a tokenizer.json and its `added_tokens`, which have been added to `vocabulary`; it
  // outlives the result. `byte_level`: words are bytes. kInvalidArgument, kUnimplemented.
  static absl::StatusOr<Bpe> FromJson(const JsonNode& model, const Vocabulary& vocabulary, bool byte_level);

  // Appends a word's ids. Never a special token of two bytes or more, but for the unknown one.
  void Encode(std::string_view word, std::vector<int32_t>& ids) const;
  // Is the word, without any merge, one token? -1 if not.
  int32_t WholeWord(std::string_view word) const;

 private:
  struct Merge {
    int32_t rank;
    int32_t id;
  };
  static constexpr Merge kNoMerge = {INT32_MAX, -1};

  Bpe(const Vocabulary& vocabulary, BpeAlphabet alphabet)
      : vocabulary_(&vocabulary), alphabet_(std::move(alphabet)) {}
  absl::Status ReadMerges(const JsonNode& merges);
  absl::Status AddMerge(int32_t rank, std::string_view left, std::string_view right);
  Merge Lookup(int32_t left, int32_t right) const;
  void MergeShort(std::vector<int32_t>& symbols) const;
  void MergeLong(std::vector<int32_t>& symbols) const;

  const Vocabulary* vocabulary_;
  BpeAlphabet alphabet_;
  bool ignore_merges_ = false;                   // a word that is a token is that token
  absl::flat_hash_map<uint64_t, Merge> merges_;  // by left << 32 | right
};

}  // namespace ternion
