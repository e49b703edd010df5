#pragma once

#include <cstddef>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/text/jinja/source.h"
#include "runtime/text/jinja/token.h"

namespace ternion::jinja {

// The tokens of a template, and the place that the parser has come to.
class TokenStream {
 public:
  // The last token is kEnd. `source` outlives the stream.
  TokenStream(const Source& source, std::vector<Token> tokens)
      : source_(source), tokens_(std::move(tokens)) {}

  const Token& current() const { return tokens_[at_]; }
  const Token& following() const { return tokens_[at_ + 1 < tokens_.size() ? at_ + 1 : at_]; }
  int line() const { return source_.LineOf(current().at); }
  // Steps over the current token, and returns it; the last one stays.
  const Token& Next();

  bool Is(Token::Kind kind) const { return current().kind == kind; }
  bool IsOperator(std::string_view text) const {
    return Is(Token::Kind::kOperator) && current().text == text;
  }
  bool IsName(std::string_view text) const { return Is(Token::Kind::kName) && current().text == text; }
  bool IsOneOfNames(std::initializer_list<std::string_view> names) const;

  bool SkipOperator(std::string_view text) { return SkipIf(IsOperator(text)); }
  bool SkipName(std::string_view text) { return SkipIf(IsName(text)); }

  // Step over what must stand here.
  absl::Status Expect(Token::Kind kind);
  absl::Status ExpectOperator(std::string_view text);
  absl::Status ExpectName(std::string_view text);
  absl::StatusOr<std::string> TakeName();

  // An error at the current token.
  absl::Status Fail(std::string_view message) const { return source_.Fail(current().at, message); }
  absl::Status FailUnexpected(std::string_view expected) const;

 private:
  bool SkipIf(bool condition);

  const Source& source_;
  std::vector<Token> tokens_;
  size_t at_ = 0;
};

}  // namespace ternion::jinja
