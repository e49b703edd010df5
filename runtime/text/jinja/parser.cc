#include "runtime/text/jinja/parser.h"

#include <string>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/status.h"
#include "runtime/text/jinja/expression_parser.h"
#include "runtime/text/jinja/lexer.h"
#include "runtime/text/jinja/token_stream.h"

namespace ternion::jinja {
namespace {

using Ends = std::initializer_list<std::string_view>;

class Parser {
 public:
  Parser(const Source& source, std::vector<Token> tokens)
      : stream_(source, std::move(tokens)), expressions_(stream_) {}

  absl::StatusOr<Body> ParseAll() {
    TERNION_ASSIGN_OR_RETURN(Body body, ParseUntil({}));
    return body;
  }

 private:
  using StatementOr = absl::StatusOr<Statement>;

  // Up to one of the tags `ends`, whose name is then the current token; without any, up to the template's end.
  absl::StatusOr<Body> ParseUntil(Ends ends) {
    const ExpressionParser::Level level(expressions_);
    TERNION_RETURN_IF_ERROR(level.Check());
    Body body;
    while (!stream_.Is(Token::Kind::kEnd)) {
      const int line = stream_.line();
      if (stream_.Is(Token::Kind::kData)) {
        body.push_back({line, Data{Text::Own(stream_.Next().text)}});
        continue;
      }
      const bool shows = stream_.Next().kind == Token::Kind::kVariableBegin;
      if (!shows && stream_.IsOneOfNames(ends)) return body;
      TERNION_ASSIGN_OR_RETURN(Statement statement, shows ? ParseOutput(line) : ParseStatement(line));
      body.push_back(std::move(statement));
      TERNION_RETURN_IF_ERROR(stream_.Expect(shows ? Token::Kind::kVariableEnd : Token::Kind::kBlockEnd));
    }
    if (ends.size() == 0) return body;
    return stream_.Fail(absl::StrCat("the template ends before '", ToAbsl(*(ends.end() - 1)), "'"));
  }

  // The body behind a tag's head, and the name of the tag that ends it.
  absl::StatusOr<Body> ParseBody(Ends ends) {
    stream_.SkipOperator(":");
    TERNION_RETURN_IF_ERROR(stream_.Expect(Token::Kind::kBlockEnd));
    return ParseUntil(ends);
  }
  absl::StatusOr<Body> ParseBodyTo(std::string_view end) {
    TERNION_ASSIGN_OR_RETURN(Body body, ParseBody({end}));
    stream_.Next();
    return body;
  }

  StatementOr ParseOutput(int line) {
    Output form;
    TERNION_ASSIGN_OR_RETURN(ExpressionPtr value, expressions_.ParseTuple(/*conditional=*/true));
    form.values.push_back(std::move(value));
    return Statement{line, std::move(form)};
  }

  StatementOr ParseStatement(int line) {
    static constexpr std::pair<std::string_view, StatementOr (Parser::*)(int)> kStatements[] = {
        {"if", &Parser::ParseIf},          {"for", &Parser::ParseFor},
        {"set", &Parser::ParseSet},        {"macro", &Parser::ParseMacro},
        {"call", &Parser::ParseCallBlock}, {"filter", &Parser::ParseFilterBlock},
        {"with", &Parser::ParseWith},      {"generation", &Parser::ParseGeneration},
        {"break", &Parser::ParseJump},     {"continue", &Parser::ParseJump},
        {"print", &Parser::ParsePrint}};
    if (!stream_.Is(Token::Kind::kName)) return stream_.FailUnexpected("the name of a tag");
    for (const auto& [name, method] : kStatements) {
      if (stream_.IsName(name)) return (this->*method)(line);
    }
    return FailUnknown();
  }

  absl::Status FailUnknown() const {
    const std::string& name = stream_.current().text;
    if (stream_.IsOneOfNames({"extends", "block", "include", "import", "from", "autoescape"})) {
      return stream_.Fail(
          absl::StrCat("the tag '", name, "' is not supported: a chat template stands alone"));
    }
    if (name.rfind("end", 0) == 0 || stream_.IsOneOfNames({"else", "elif"})) {
      return stream_.Fail(absl::StrCat("'", name, "' has no tag that it belongs to"));
    }
    return stream_.Fail(absl::StrCat("there is no tag '", name, "'"));
  }

  StatementOr ParsePrint(int line) {
    Output form;
    do {
      stream_.Next();
      TERNION_ASSIGN_OR_RETURN(ExpressionPtr value, expressions_.ParseExpression());
      form.values.push_back(std::move(value));
    } while (stream_.IsOperator(","));
    return Statement{line, std::move(form)};
  }

  StatementOr ParseIf(int line) {
    const ExpressionParser::Branch branch(expressions_);
    If form;
    while (!stream_.IsOneOfNames({"else", "endif"})) {
      stream_.Next();
      TERNION_ASSIGN_OR_RETURN(ExpressionPtr condition, expressions_.ParseTuple(/*conditional=*/false));
      TERNION_ASSIGN_OR_RETURN(Body body, ParseBody({"elif", "else", "endif"}));
      form.branches.emplace_back(std::move(condition), std::move(body));
    }
    if (stream_.IsName("else")) {
      stream_.Next();
      TERNION_ASSIGN_OR_RETURN(form.otherwise, ParseBody({"endif"}));
    }
    stream_.Next();
    return Statement{line, std::move(form)};
  }

  StatementOr ParseFor(int line) {
    For form;
    stream_.Next();
    ++loops_;
    TERNION_ASSIGN_OR_RETURN(form.target, ParseTarget(/*with_namespace=*/false));
    TERNION_RETURN_IF_ERROR(stream_.ExpectName("in"));
    TERNION_ASSIGN_OR_RETURN(form.items, expressions_.ParseTuple(/*conditional=*/false));
    if (stream_.SkipName("if")) {
      TERNION_ASSIGN_OR_RETURN(form.condition, expressions_.ParseExpression());
    }
    form.recursive = stream_.SkipName("recursive");
    TERNION_ASSIGN_OR_RETURN(form.body, ParseBody({"else", "endfor"}));
    --loops_;
    if (stream_.SkipName("else")) {
      TERNION_ASSIGN_OR_RETURN(form.otherwise, ParseBody({"endfor"}));
    }
    stream_.Next();
    return Statement{line, std::move(form)};
  }

  StatementOr ParseSet(int line) {
    stream_.Next();
    TERNION_ASSIGN_OR_RETURN(Target target, ParseTarget(/*with_namespace=*/true));
    if (stream_.SkipOperator("=")) {
      TERNION_ASSIGN_OR_RETURN(ExpressionPtr value, expressions_.ParseTuple(/*conditional=*/true));
      return Statement{line, Set{std::move(target), std::move(value)}};
    }
    SetBlock form{std::move(target), nullptr, {}};
    if (stream_.SkipOperator("|")) {
      TERNION_ASSIGN_OR_RETURN(form.filter, expressions_.ParseFilters(nullptr));
    }
    TERNION_ASSIGN_OR_RETURN(form.body, ParseBodyTo("endset"));
    return Statement{line, std::move(form)};
  }

  // One target, or several with commas between them.
  absl::StatusOr<Target> ParseTarget(bool with_namespace) {
    Target several;
    several.unpacks = true;
    bool comma = false;
    while (stream_.Is(Token::Kind::kName) || stream_.IsOperator("(")) {
      if (stream_.IsName("in")) break;
      TERNION_ASSIGN_OR_RETURN(Target target, ParseOneTarget(with_namespace));
      several.parts.push_back(std::move(target));
      if (!stream_.SkipOperator(",")) break;
      comma = true;
    }
    if (several.parts.empty()) return stream_.FailUnexpected("a name to assign to");
    if (comma) return several;
    Target single = std::move(several.parts.front());
    return single;
  }

  absl::StatusOr<Target> ParseOneTarget(bool with_namespace) {
    const ExpressionParser::Level level(expressions_);
    TERNION_RETURN_IF_ERROR(level.Check());
    if (stream_.SkipOperator("(")) {
      TERNION_ASSIGN_OR_RETURN(Target inner, ParseTarget(with_namespace));
      TERNION_RETURN_IF_ERROR(stream_.ExpectOperator(")"));
      return inner;
    }
    Target target;
    TERNION_ASSIGN_OR_RETURN(target.name, ParseTargetName());
    if (with_namespace && stream_.SkipOperator(".")) {
      TERNION_ASSIGN_OR_RETURN(target.attribute, stream_.TakeName());
    }
    return target;
  }

  absl::StatusOr<std::string> ParseTargetName() {
    const bool reserved = stream_.IsOneOfNames({"true", "false", "none", "True", "False", "None", "and", "or",
                                                "not", "if", "in", "is", "else"}) ||
                          (loops_ > 0 && stream_.IsName("loop"));
    if (reserved) return stream_.Fail(absl::StrCat("'", stream_.current().text, "' cannot be assigned to"));
    return stream_.TakeName();
  }

  StatementOr ParseWith(int line) {
    stream_.Next();
    With form;
    while (!stream_.Is(Token::Kind::kBlockEnd)) {
      if (!form.values.empty()) TERNION_RETURN_IF_ERROR(stream_.ExpectOperator(","));
      TERNION_ASSIGN_OR_RETURN(Target target, ParseOneTarget(/*with_namespace=*/false));
      TERNION_RETURN_IF_ERROR(stream_.ExpectOperator("="));
      TERNION_ASSIGN_OR_RETURN(ExpressionPtr value, expressions_.ParseExpression());
      form.values.emplace_back(std::move(target), std::move(value));
    }
    TERNION_ASSIGN_OR_RETURN(form.body, ParseBodyTo("endwith"));
    return Statement{line, std::move(form)};
  }

  StatementOr ParseMacro(int line) {
    stream_.Next();
    Function function;
    TERNION_ASSIGN_OR_RETURN(function.name, ParseTargetName());
    TERNION_RETURN_IF_ERROR(ParseParameters(function));
    TERNION_RETURN_IF_ERROR(ParseFunctionBody("endmacro", function));
    return Statement{line, MacroDefinition{std::move(function)}};
  }

  StatementOr ParseCallBlock(int line) {
    stream_.Next();
    CallBlock form;
    form.caller.name = "caller";
    if (stream_.IsOperator("(")) TERNION_RETURN_IF_ERROR(ParseParameters(form.caller));
    TERNION_ASSIGN_OR_RETURN(form.call, expressions_.ParseExpression());
    if (!std::holds_alternative<Call>(form.call->form)) return stream_.FailUnexpected("a call of a macro");
    TERNION_RETURN_IF_ERROR(ParseFunctionBody("endcall", form.caller));
    return Statement{line, std::move(form)};
  }

  absl::Status ParseParameters(Function& function) {
    TERNION_RETURN_IF_ERROR(stream_.ExpectOperator("("));
    while (!stream_.IsOperator(")")) {
      Parameter parameter;
      TERNION_ASSIGN_OR_RETURN(parameter.name, ParseTargetName());
      const bool after_default = !function.parameters.empty() && function.parameters.back().value != nullptr;
      if (stream_.SkipOperator("=")) {
        TERNION_ASSIGN_OR_RETURN(parameter.value, expressions_.ParseExpression());
      } else if (after_default) {
        return stream_.Fail("a parameter without a default value stands behind one with it");
      }
      function.parameters.push_back(std::move(parameter));
      if (!stream_.SkipOperator(",")) break;
    }
    return stream_.ExpectOperator(")");
  }

  absl::Status ParseFunctionBody(std::string_view end, Function& function) {
    const ExpressionParser::Specials outer = std::exchange(expressions_.specials(), {});
    const int outer_loops = std::exchange(loops_, 0);
    TERNION_ASSIGN_OR_RETURN(function.body, ParseBodyTo(end));
    loops_ = outer_loops;
    ExpressionParser::Specials& read = expressions_.specials();
    const auto is_parameter = [&](std::string_view name) {
      for (const Parameter& parameter : function.parameters) {
        if (parameter.name == name) return true;
      }
      return false;
    };
    function.takes_caller = read.caller && !is_parameter("caller");
    function.takes_varargs = read.varargs && !is_parameter("varargs");
    function.takes_kwargs = read.kwargs && !is_parameter("kwargs");
    read = {read.caller || outer.caller, read.varargs || outer.varargs, read.kwargs || outer.kwargs};
    return absl::OkStatus();
  }

  StatementOr ParseFilterBlock(int line) {
    stream_.Next();
    FilterBlock form;
    TERNION_ASSIGN_OR_RETURN(form.filter, expressions_.ParseFilters(nullptr));
    TERNION_ASSIGN_OR_RETURN(form.body, ParseBodyTo("endfilter"));
    return Statement{line, std::move(form)};
  }

  StatementOr ParseGeneration(int line) {
    stream_.Next();
    const int outer_loops =
        std::exchange(loops_, 0);  // the body is a function there, which nothing jumps out of
    TERNION_ASSIGN_OR_RETURN(Body body, ParseBodyTo("endgeneration"));
    loops_ = outer_loops;
    return Statement{line, Generation{std::move(body)}};
  }

  StatementOr ParseJump(int line) {
    const std::string& name = stream_.current().text;
    if (loops_ == 0) return stream_.Fail(absl::StrCat("'", name, "' stands outside of a loop"));
    if (stream_.Next().text == "break") return Statement{line, Break{}};
    return Statement{line, Continue{}};
  }

  TokenStream stream_;
  ExpressionParser expressions_;
  int loops_ = 0;  // around the current token, in the same function
};

}  // namespace

absl::StatusOr<Body> Parse(const Source& source) {
  TERNION_ASSIGN_OR_RETURN(std::vector<Token> tokens, Tokenize(source));
  return Parser(source, std::move(tokens)).ParseAll();
}

}  // namespace ternion::jinja
