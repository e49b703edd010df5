#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace ternion {

// Hugging Face's `tokenizers` matches with Unicode 16, PCRE2 10.42 with Unicode 14. This is the difference,
// so that both cut the same words out of newer letters, digits, marks and signs. (One character moved between
// two subcategories and is not corrected: U+1171E, from Mn to Mc.)

// Is `category` a general category that CategoryAdditions knows: L, M, N, P, S, Z or one of their parts, such
// as Lu?
bool IsCategory(std::string_view category);
// The code points to add to \p{category}, as ranges to stand in a PCRE2 character class:
// "\x{1C8A}-\x{1C8A}...".
std::string CategoryAdditions(std::string_view category);
// Unicode Technical Standard 18's \w, to stand in a PCRE2 character class.
std::string WordCharacters();

}  // namespace ternion
