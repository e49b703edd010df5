#include "runtime/text/text_pattern.h"

#include <string>

#include "absl/strings/ascii.h"
#include "kernels/status.h"

namespace ternion {
namespace {

std::string Escape(const std::string& text) {
  std::string pattern;
  for (const char c : text) {
    if (absl::ascii_ispunct(static_cast<unsigned char>(c))) pattern += '\\';
    pattern += c;
  }
  return pattern;
}

absl::StatusOr<Regex> Compile(const JsonNode& pattern) {
  if (pattern.Has("Regex")) {
    TERNION_ASSIGN_OR_RETURN(const std::string regex, pattern.String("Regex"));
    return Regex::Compile(regex);
  }
  TERNION_ASSIGN_OR_RETURN(const std::string text, pattern.String("String"));
  return Regex::CompilePcre2(Escape(text));
}

}  // namespace

absl::StatusOr<Regex> CompilePattern(const JsonNode& pattern) {
  TERNION_RETURN_IF_ERROR(pattern.ExpectObject());
  if (!pattern.Has("Regex") && !pattern.Has("String")) {
    return pattern.Unimplemented("only a \"Regex\" and a \"String\" are supported");
  }
  absl::StatusOr<Regex> regex = Compile(pattern);
  if (regex.ok()) return regex;
  return pattern.Locate(regex.status());
}

}  // namespace ternion
