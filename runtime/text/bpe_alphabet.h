#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "runtime/text/json_node.h"
#include "runtime/text/vocabulary.h"

namespace ternion {

// The symbols a word consists of before anything is merged: its bytes, or its characters. A character that the vocabulary lacks
// is spelled by the tokens of its bytes ("<0x0A>") if the model has byte_fallback, or else is the unknown token, or nothing.
// Immutable.
class BpeAlphabet {
 public:
  // The `model` of a tokenizer.json. `byte_level`: words are bytes. kInvalidArgument, kUnimplemented.
  static absl::StatusOr<BpeAlphabet> FromJson(const JsonNode& model, const Vocabulary& vocabulary,
                                              bool byte_level);

  // Never a special token of two bytes or more, but for the unknown one.
  void Append(std::string_view word, std::vector<int32_t>& symbols) const;

 private:
  class Writer;

  absl::Status ReadUnknown(const JsonNode& model, const Vocabulary& vocabulary);
  void ReadCharacters(const Vocabulary& vocabulary);
  void ReadByteTokens(const Vocabulary& vocabulary);
  int32_t Find(std::string_view character) const;

  bool byte_level_ = true;
  std::array<int32_t, 256> bytes_{};                   // the ids of single bytes; -1: none
  absl::flat_hash_map<uint32_t, int32_t> characters_;  // beyond those of one byte, by code point
  std::array<int32_t, 256> byte_tokens_{};  // ids of "<0x00>" to "<0xFF>"; -1: none, or no byte_fallback
  int32_t unknown_ = -1;
  bool fuse_unknown_ = false;  // several in a row are one
};

}  // namespace ternion
