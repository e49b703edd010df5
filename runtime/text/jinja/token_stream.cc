#include "runtime/text/jinja/token_stream.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "kernels/status.h"

namespace ternion::jinja {
namespace {

std::string_view Describe(Token::Kind kind) {
  switch (kind) {
    case Token::Kind::kVariableBegin:
      return "{{";
    case Token::Kind::kVariableEnd:
      return "}}";
    case Token::Kind::kBlockBegin:
      return "{%";
    case Token::Kind::kBlockEnd:
      return "%}";
    case Token::Kind::kName:
      return "a name";
    case Token::Kind::kEnd:
      return "the end of the template";
    default:
      return "text";
  }
}

std::string Describe(const Token& token) {
  switch (token.kind) {
    case Token::Kind::kName:
    case Token::Kind::kOperator:
      return absl::StrCat("'", token.text, "'");
    case Token::Kind::kString:
      return "a string";
    case Token::Kind::kInteger:
    case Token::Kind::kFloat:
      return "a number";
    default:
      return std::string(Describe(token.kind));
  }
}

}  // namespace

const Token& TokenStream::Next() {
  const Token& token = current();
  if (at_ + 1 < tokens_.size()) ++at_;
  return token;
}

bool TokenStream::IsOneOfNames(std::initializer_list<std::string_view> names) const {
  return Is(Token::Kind::kName) && std::find(names.begin(), names.end(), current().text) != names.end();
}

bool TokenStream::SkipIf(bool condition) {
  if (condition) Next();
  return condition;
}

absl::Status TokenStream::Expect(Token::Kind kind) {
  return SkipIf(Is(kind)) ? absl::OkStatus() : FailUnexpected(Describe(kind));
}

absl::Status TokenStream::ExpectOperator(std::string_view text) {
  return SkipOperator(text) ? absl::OkStatus() : FailUnexpected(absl::StrCat("'", ToAbsl(text), "'"));
}

absl::Status TokenStream::ExpectName(std::string_view text) {
  return SkipName(text) ? absl::OkStatus() : FailUnexpected(absl::StrCat("'", ToAbsl(text), "'"));
}

absl::StatusOr<std::string> TokenStream::TakeName() {
  if (!Is(Token::Kind::kName)) return FailUnexpected("a name");
  return Next().text;
}

absl::Status TokenStream::FailUnexpected(std::string_view expected) const {
  return Fail(absl::StrCat("expected ", ToAbsl(expected), ", found ", Describe(current())));
}

}  // namespace ternion::jinja
