#include "runtime/text/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <cstdint>
#include <limits>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "kernels/check.h"
#include "kernels/status.h"
#include "runtime/text/regex_pattern.h"

namespace ternion {
namespace {

constexpr size_t kSmallStackBytes = size_t{32} << 10;
constexpr size_t kLargeStackBytes = size_t{8} << 20;  // address space; taken as it is needed

std::string ErrorText(int code) {
  PCRE2_UCHAR text[256];
  pcre2_get_error_message(code, text, sizeof(text));
  return reinterpret_cast<const char*>(text);
}

}  // namespace

void FreePcre2(pcre2_real_code_8* handle) { pcre2_code_free(handle); }
void FreePcre2(pcre2_real_match_context_8* handle) { pcre2_match_context_free(handle); }
void FreePcre2(pcre2_real_match_data_8* handle) { pcre2_match_data_free(handle); }
void FreePcre2(pcre2_real_jit_stack_8* handle) { pcre2_jit_stack_free(handle); }

absl::StatusOr<Regex> Regex::Compile(std::string_view pattern) {
  TERNION_ASSIGN_OR_RETURN(const std::string translated, ToPcre2(pattern));
  return CompilePcre2(translated);
}

absl::StatusOr<Regex> Regex::CompilePcre2(std::string_view pattern) {
  int error = 0;
  size_t offset = 0;
  Regex regex(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                            PCRE2_UTF | PCRE2_UCP, &error, &offset, nullptr));
  if (regex.code_ == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("the regular expression ", ToAbsl(pattern), " is wrong: ", ErrorText(error)));
  }
  uint32_t matches_empty = 0;
  pcre2_pattern_info(regex.code_.get(), PCRE2_INFO_MATCHEMPTY, &matches_empty);
  if (matches_empty != 0) {
    return absl::UnimplementedError(
        absl::StrCat("the regular expression ", ToAbsl(pattern), " matches the empty text"));
  }
  // Where the machine has no JIT, the same matches are found by PCRE2's interpreter.
  pcre2_jit_compile(regex.code_.get(), PCRE2_JIT_COMPLETE);
  return regex;
}

RegexMatcher::RegexMatcher(const Regex& regex)
    : code_(regex.code_.get()),
      data_(pcre2_match_data_create(1, nullptr)),
      stack_(pcre2_jit_stack_create(kSmallStackBytes, kLargeStackBytes, nullptr)),
      context_(pcre2_match_context_create(nullptr)) {
  CHECK(data_ != nullptr && context_ != nullptr, "out of memory");
  pcre2_set_match_limit(context_.get(), std::numeric_limits<uint32_t>::max());
  if (stack_ != nullptr) pcre2_jit_stack_assign(context_.get(), nullptr, stack_.get());
}

absl::StatusOr<RegexMatch> RegexMatcher::Find(std::string_view text, size_t from) const {
  const int found = pcre2_match(code_, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), from,
                                PCRE2_NO_UTF_CHECK, data_.get(), context_.get());
  if (found == PCRE2_ERROR_NOMATCH) return RegexMatch{false, text.size(), text.size()};
  if (found < 0) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the pre-tokenizer's regular expression fails on this text: ", ErrorText(found)));
  }
  const size_t* span = pcre2_get_ovector_pointer(data_.get());
  return RegexMatch{true, span[0], span[1]};
}

}  // namespace ternion
