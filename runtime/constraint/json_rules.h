#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "runtime/constraint/grammar.h"

namespace ternion {

// The rules that grammars of JSON texts share, each made when it is first asked for. Texts are narrower than JSON, so that
// none goes on for ever where a value or its layout should end: white space is one blank, or a line break and up to 24
// blanks; a number has up to 15 digits before its point, 15 behind it, and an exponent of two.
class JsonRules {
 public:
  explicit JsonRules(Grammar* grammar) : grammar_(grammar) {}

  static constexpr int64_t kLargestInteger = 999'999'999'999'999;

  int32_t String();
  int32_t Number();
  int32_t Value();   // any
  int32_t Object();  // any
  int32_t Array();   // any

  // Optional white space.
  void AddSpace(int32_t from, int32_t to);
  // ',' and white space.
  void AddComma(int32_t from, int32_t to);
  // The node behind ':' and a blank, which may be left out.
  int32_t AddColon(int32_t from);
  // Quotes around `least` to `most` characters, or any more.
  void AddString(int32_t from, int64_t least, std::optional<int64_t> most, int32_t to);
  // A string that is none of these.
  void AddOtherString(int32_t from, const std::vector<std::string>& taken, int32_t to);
  // Integers in [low, high], both within kLargestInteger.
  void AddInteger(int32_t from, int64_t low, int64_t high, int32_t to);

 private:
  int32_t Character();
  int32_t Space();
  void AddEscapes(int32_t from, int32_t to);
  void AddDigits(int32_t from, int64_t least, int64_t most, int32_t to);
  void AddMagnitude(int32_t from, int64_t low, int64_t high, int32_t to);
  // A new rule's index, kept in `place`; false when it was there.
  bool Make(std::optional<int32_t>& place);

  Grammar* grammar_;
  std::optional<int32_t> character_, space_, string_, number_, value_, object_, array_;
};

}  // namespace ternion
