#pragma once

#include <cstddef>
#include <memory>
#include <string_view>

#include "absl/status/statusor.h"

struct pcre2_real_code_8;
struct pcre2_real_match_context_8;
struct pcre2_real_match_data_8;
struct pcre2_real_jit_stack_8;

namespace ternion {

// Owns a handle of PCRE2.
template <typename T, void (*release)(T*)>
struct Pcre2Release {
  void operator()(T* handle) const { release(handle); }
};
void FreePcre2(pcre2_real_code_8* handle);
void FreePcre2(pcre2_real_match_context_8* handle);
void FreePcre2(pcre2_real_match_data_8* handle);
void FreePcre2(pcre2_real_jit_stack_8* handle);
template <typename T>
using Pcre2Handle = std::unique_ptr<T, Pcre2Release<T, FreePcre2>>;

// A compiled regular expression of a tokenizer.json (Unicode; Oniguruma's reading, see regex_pattern.h).
// Thread-safe; a match runs in a RegexMatcher, of which every thread has its own.
class Regex {
 public:
  // kInvalidArgument, kUnimplemented; expressions that match the empty text are among the latter.
  static absl::StatusOr<Regex> Compile(std::string_view pattern);
  // The same for an expression in PCRE2's own language.
  static absl::StatusOr<Regex> CompilePcre2(std::string_view pattern);

 private:
  friend class RegexMatcher;
  explicit Regex(pcre2_real_code_8* code) : code_(code) {}

  Pcre2Handle<pcre2_real_code_8> code_;
};

struct RegexMatch {
  bool found;
  size_t begin;
  size_t end;
};

class RegexMatcher {
 public:
  // `regex` outlives the matcher.
  explicit RegexMatcher(const Regex& regex);
  // The first match at or after byte `from` of `text`, which is UTF-8 (unchecked). kResourceExhausted when
  // the expression's backtracking needs more memory than a match is given.
  absl::StatusOr<RegexMatch> Find(std::string_view text, size_t from) const;

 private:
  const pcre2_real_code_8* code_;
  Pcre2Handle<pcre2_real_match_data_8> data_;
  Pcre2Handle<pcre2_real_jit_stack_8> stack_;
  Pcre2Handle<pcre2_real_match_context_8> context_;
};

}  // namespace ternion
