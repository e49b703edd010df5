#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/text/json_node.h"

namespace ternion {

// U+2581, by which SentencePiece spells a space.
inline constexpr std::string_view kSpaceMark = "\xE2\x96\x81";

// `text` with `to` where `from`, which is not empty, stands.
std::string ReplaceAll(std::string_view text, std::string_view from, std::string_view to);

// The pre-tokenizer Metaspace: spaces become a mark, one is put in front, and words begin with one.
class Metaspace {
 public:
  // kInvalidArgument.
  static absl::StatusOr<Metaspace> FromJson(const JsonNode& node);

  const std::string& mark() const { return mark_; }
  bool prepends() const { return prepend_ != Prepend::kNever; }

  // `at_start`: nothing stands before the text.
  std::string Spell(std::string_view text, bool at_start) const;
  // Appends the words of a text that Spell made.
  void Cut(std::string_view spelled, std::vector<std::string_view>& words) const;

 private:
  enum class Prepend { kAlways, kFirst, kNever };
  static absl::StatusOr<Prepend> ReadPrepend(const JsonNode& node);

  std::string mark_;
  Prepend prepend_ = Prepend::kAlways;
  bool split_ = true;
};

}  // namespace ternion
