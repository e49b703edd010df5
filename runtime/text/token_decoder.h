#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/text/json_node.h"

namespace ternion {

// The byte that a token spelled "<0x0A>" stands for; nullopt for another spelling.
std::optional<char> ByteOfSpelling(std::string_view spelling);

// From a token's spelling in the vocabulary to its bytes: the `decoder` of a tokenizer.json. Known are ByteLevel, Metaspace,
// and Sequence of Replace (a String), ByteFallback, Fuse and, behind Fuse, Strip from the left.
class TokenDecoder {
 public:
  // kInvalidArgument, kUnimplemented.
  static absl::StatusOr<TokenDecoder> FromJson(const JsonNode& node);

  bool byte_level() const { return byte_level_; }
  // Of byte-level spellings (byte_level.h) that are none, the spelling itself.
  std::string Bytes(std::string_view spelling) const;
  // How many bytes a text has in front that are no part of it, when its first token is the first `first_token` bytes of it.
  size_t Leading(std::string_view text, size_t first_token) const;

 private:
  struct Step {
    std::string from;  // empty: byte fallback
    std::string to;
  };

  absl::Status Add(const JsonNode& node);
  absl::Status AddSequence(const JsonNode& node);
  absl::Status AddReplace(const JsonNode& node);
  absl::Status AddMetaspace(const JsonNode& node);
  absl::Status AddStrip(const JsonNode& node);

  bool byte_level_ = false;
  bool fused_ = false;
  std::vector<Step> steps_;
  std::string leading_;            // the character that a text loses at its beginning; empty: none
  size_t most_leading_ = 0;        // that often at most
  bool first_token_only_ = false;  // and no further than its first token
};

}  // namespace ternion
