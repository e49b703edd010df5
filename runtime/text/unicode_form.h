#pragma once

#include <memory>
#include <string_view>

#include "absl/status/statusor.h"
#include "runtime/text/normalizer.h"

namespace ternion {

// Unicode's normalization forms, as Hugging Face's `tokenizers` makes them: with the characters of Unicode 9, so that a later
// one neither composes nor moves. kNotFound for another name than NFC, NFD, NFKC and NFKD.
absl::StatusOr<std::shared_ptr<const NormalizerStep>> MakeUnicodeForm(std::string_view name);

}  // namespace ternion
