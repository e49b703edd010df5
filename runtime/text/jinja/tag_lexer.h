#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "runtime/text/jinja/source.h"
#include "runtime/text/jinja/token.h"

namespace ternion::jinja {

// Reads the tokens between {% and %} or {{ and }}.
class TagLexer {
 public:
  // Both outlive the lexer.
  TagLexer(const Source& source, std::vector<Token>& tokens) : source_(source), tokens_(tokens) {}

  // From byte `at`, behind the tag's beginning, up to and with its end; returns the byte behind it.
  absl::StatusOr<size_t> Read(size_t at, bool block);

 private:
  size_t EndOfTag(bool block) const;
  absl::Status ReadToken();
  absl::Status ReadNumber();
  absl::Status ReadFloat(size_t end);
  absl::Status ReadInteger(size_t end);
  absl::Status ReadString();
  absl::Status ReadOperator();
  absl::Status Balance(char bracket);
  absl::StatusOr<std::string> Unescape(size_t begin, size_t end) const;
  absl::StatusOr<size_t> AppendEscape(size_t at, size_t end, std::string& out) const;

  std::string_view rest() const { return std::string_view(source_.text()).substr(at_); }
  void Push(Token::Kind kind, size_t bytes);

  const Source& source_;
  std::vector<Token>& tokens_;
  size_t at_ = 0;
  std::string open_;  // the brackets that are to be closed; while there are any, nothing ends the tag
};

}  // namespace ternion::jinja
