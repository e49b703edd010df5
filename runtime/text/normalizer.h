#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/text/json_node.h"
#include "runtime/text/text_edit.h"
#include "runtime/text/text_range.h"

namespace ternion {

// One rewriting of a text. Immutable and thread-safe.
class NormalizerStep {
 public:
  virtual ~NormalizerStep() = default;
  // `text` is UTF-8 and not empty, and so is the result, though it may be empty. `edits`: what was changed, in order; null when
  // nobody asks. kResourceExhausted as RegexMatcher::Find, or for texts of 2 GiB and more.
  virtual absl::StatusOr<std::string> Apply(std::string_view text, std::vector<TextEdit>* edits) const = 0;
};

// Rewrites text before it is cut into words: the `normalizer` of a tokenizer.json. Known are Sequence, NFC, NFD, NFKC, NFKD,
// Replace and Prepend.
class Normalizer {
 public:
  Normalizer() = default;  // changes nothing
  // kInvalidArgument, kUnimplemented. Null changes nothing.
  static absl::StatusOr<Normalizer> FromJson(const JsonNode& node);

  bool empty() const { return steps_.empty(); }
  // `plain`: ranges of the text, in order and apart; afterwards where they stand in the result. Null: none.
  absl::StatusOr<std::string> Normalize(std::string_view text, std::vector<TextRange>* plain) const;

 private:
  absl::Status Add(const JsonNode& node);

  std::vector<std::shared_ptr<const NormalizerStep>> steps_;
};

}  // namespace ternion
