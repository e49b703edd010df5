#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/text/json_node.h"
#include "runtime/text/vocabulary.h"

namespace ternion {

// What the `post_processor` of a tokenizer.json puts around one text. Known are TemplateProcessing, ByteLevel
// (which concerns offsets only) and a Sequence of them.
struct PostProcessor {
  std::vector<int32_t> before;
  std::vector<int32_t> after;

  bool empty() const { return before.empty() && after.empty(); }

  // kInvalidArgument, kUnimplemented.
  static absl::StatusOr<PostProcessor> FromJson(const JsonNode& node, const Vocabulary& vocabulary);
};

}  // namespace ternion
