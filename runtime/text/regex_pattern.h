#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace ternion {

// Rewrites a regular expression of a tokenizer.json, written for Oniguruma, so that PCRE2 (UTF, UCP) matches
// the same text: \s, \uHHHH and \p{...} are spelled out, what both read alike is kept. kUnimplemented for all
// else, for instance \w, $ and sets within sets, which the two read differently; the message quotes the
// place.
absl::StatusOr<std::string> ToPcre2(std::string_view pattern);

}  // namespace ternion
