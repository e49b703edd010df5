#include "runtime/text/jinja/expression_parser.h"

#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/status.h"
#include "runtime/text/jinja/filters.h"
#include "runtime/text/jinja/tests.h"

namespace ternion::jinja {

absl::Status ExpressionParser::Level::Check() const {
  if (parser_.depth_ <= kMostParserDepth) return absl::OkStatus();
  return parser_.stream_.Fail(absl::StrCat("the template nests deeper than ", kMostParserDepth, " levels"));
}

absl::StatusOr<ExpressionPtr> ExpressionParser::Make(int line, Expression::Form form) const {
  auto expression = std::make_unique<const Expression>(line, std::move(form));
  if (expression->height <= kMostHeight) return ExpressionPtr(std::move(expression));
  return stream_.Fail(absl::StrCat("the expression has more than ", kMostHeight, " levels"));
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseExpression(bool conditional) {
  return conditional ? ParseConditional() : ParseOr();
}

bool ExpressionParser::AtTupleEnd() const {
  return stream_.Is(Token::Kind::kVariableEnd) || stream_.Is(Token::Kind::kBlockEnd) ||
         stream_.IsOperator(")");
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseTuple(bool conditional, bool parentheses) {
  const int line = stream_.line();
  ListDisplay tuple{/*tuple=*/true, {}};
  bool comma = false;
  while (!AtTupleEnd()) {
    TERNION_ASSIGN_OR_RETURN(ExpressionPtr item, ParseExpression(conditional));
    tuple.items.push_back(std::move(item));
    if (!stream_.SkipOperator(",")) break;
    comma = true;
  }
  if (!comma && !tuple.items.empty()) return std::move(tuple.items.front());
  if (!comma && !parentheses) return stream_.FailUnexpected("an expression");
  return Make(line, std::move(tuple));
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseConditional() {
  const Level level(*this);
  TERNION_RETURN_IF_ERROR(level.Check());
  TERNION_ASSIGN_OR_RETURN(ExpressionPtr expression, ParseOr());
  while (stream_.IsName("if")) {
    const int line = stream_.line();
    stream_.Next();
    Conditional form;
    form.then = std::move(expression);
    TERNION_ASSIGN_OR_RETURN(form.condition, ParseOr());
    if (stream_.SkipName("else")) {
      TERNION_ASSIGN_OR_RETURN(form.otherwise, ParseConditional());
    }
    TERNION_ASSIGN_OR_RETURN(expression, Make(line, std::move(form)));
  }
  return expression;
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseBinary(Method operand,
                                                            std::initializer_list<Operator> operators) {
  TERNION_ASSIGN_OR_RETURN(ExpressionPtr left, (this->*operand)());
  while (true) {
    const int line = stream_.line();
    std::optional<BinaryOp> op;
    for (const Operator& candidate : operators) {
      const bool here = stream_.IsOperator(candidate.text) || stream_.IsName(candidate.text);
      if (here) op = candidate.op;
    }
    if (!op.has_value()) return left;
    stream_.Next();
    TERNION_ASSIGN_OR_RETURN(ExpressionPtr right, (this->*operand)());
    TERNION_ASSIGN_OR_RETURN(left, Make(line, Binary{*op, std::move(left), std::move(right)}));
  }
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseOr() {
  return ParseBinary(&ExpressionParser::ParseAnd, {{"or", BinaryOp::kOr}});
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseAnd() {
  return ParseBinary(&ExpressionParser::ParseNot, {{"and", BinaryOp::kAnd}});
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseNot() {
  if (!stream_.IsName("not")) return ParseCompare();
  const Level level(*this);
  TERNION_RETURN_IF_ERROR(level.Check());
  const int line = stream_.line();
  stream_.Next();
  TERNION_ASSIGN_OR_RETURN(ExpressionPtr operand, ParseNot());
  return Make(line, Unary{UnaryOp::kNot, std::move(operand)});
}

// True, with the operator and behind it, when one stands here.
bool ExpressionParser::ReadCompareOp(CompareOp* op) {
  static constexpr std::pair<std::string_view, CompareOp> kOperators[] = {
      {"==", CompareOp::kEq}, {"!=", CompareOp::kNe}, {"<", CompareOp::kLt},
      {"<=", CompareOp::kLe}, {">", CompareOp::kGt},  {">=", CompareOp::kGe}};
  for (const auto& [text, candidate] : kOperators) {
    *op = candidate;
    if (stream_.SkipOperator(text)) return true;
  }
  const Token& following = stream_.following();
  const bool negated =
      stream_.IsName("not") && following.kind == Token::Kind::kName && following.text == "in";
  if (negated) stream_.Next();
  *op = negated ? CompareOp::kNotIn : CompareOp::kIn;
  return stream_.SkipName("in");
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseCompare() {
  const int line = stream_.line();
  TERNION_ASSIGN_OR_RETURN(ExpressionPtr first, ParseSum());
  Compare compare{std::move(first), {}};
  while (true) {
    CompareOp op = CompareOp::kEq;
    if (!ReadCompareOp(&op)) break;
    TERNION_ASSIGN_OR_RETURN(ExpressionPtr operand, ParseSum());
    compare.rest.emplace_back(op, std::move(operand));
  }
  if (compare.rest.empty()) return std::move(compare.first);
  return Make(line, std::move(compare));
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseSum() {
  return ParseBinary(&ExpressionParser::ParseConcat, {{"+", BinaryOp::kAdd}, {"-", BinaryOp::kSub}});
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseConcat() {
  return ParseBinary(&ExpressionParser::ParseProduct, {{"~", BinaryOp::kConcat}});
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseProduct() {
  return ParseBinary(
      &ExpressionParser::ParsePower,
      {{"*", BinaryOp::kMul}, {"/", BinaryOp::kDiv}, {"//", BinaryOp::kFloorDiv}, {"%", BinaryOp::kMod}});
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParsePower() {
  return ParseBinary(&ExpressionParser::ParseUnary, {{"**", BinaryOp::kPow}});
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseUnary(bool with_filters) {
  const int line = stream_.line();
  ExpressionPtr expression;
  if (const bool minus = stream_.IsOperator("-"); minus || stream_.IsOperator("+")) {
    const Level level(*this);
    TERNION_RETURN_IF_ERROR(level.Check());
    stream_.Next();
    TERNION_ASSIGN_OR_RETURN(expression, ParseUnary(/*with_filters=*/false));
    TERNION_ASSIGN_OR_RETURN(
        expression, Make(line, Unary{minus ? UnaryOp::kMinus : UnaryOp::kPlus, std::move(expression)}));
  } else {
    TERNION_ASSIGN_OR_RETURN(expression, ParsePrimary());
  }
  TERNION_ASSIGN_OR_RETURN(expression, ParsePostfix(std::move(expression)));
  return with_filters ? ParseSuffixes(std::move(expression)) : std::move(expression);
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParsePrimary() {
  const int line = stream_.line();
  if (stream_.Is(Token::Kind::kName)) return ParseName();
  if (stream_.Is(Token::Kind::kString)) return ParseString();
  if (stream_.Is(Token::Kind::kInteger)) return Make(line, Constant{Value::Int(stream_.Next().integer)});
  if (stream_.Is(Token::Kind::kFloat)) return Make(line, Constant{Value::Float(stream_.Next().number)});
  if (stream_.IsOperator("[")) return ParseList();
  if (stream_.IsOperator("{")) return ParseDict();
  if (!stream_.SkipOperator("(")) return stream_.FailUnexpected("an expression");
  TERNION_ASSIGN_OR_RETURN(ExpressionPtr tuple, ParseTuple(/*conditional=*/true, /*parentheses=*/true));
  TERNION_RETURN_IF_ERROR(stream_.ExpectOperator(")"));
  return tuple;
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseName() {
  if (stream_.IsOneOfNames({"and", "or", "not", "in", "is", "if", "else"})) {
    return stream_.FailUnexpected("an expression");
  }
  const int line = stream_.line();
  const std::string& name = stream_.Next().text;
  if (name == "true" || name == "True") return Make(line, Constant{Value::Bool(true)});
  if (name == "false" || name == "False") return Make(line, Constant{Value::Bool(false)});
  if (name == "none" || name == "None") return Make(line, Constant{Value::None()});
  specials_.caller |= name == "caller";
  specials_.varargs |= name == "varargs";
  specials_.kwargs |= name == "kwargs";
  return Make(line, Name{name});
}

// Strings side by side are one.
absl::StatusOr<ExpressionPtr> ExpressionParser::ParseString() {
  const int line = stream_.line();
  std::string text;
  while (stream_.Is(Token::Kind::kString)) text += stream_.Next().text;
  return Make(line, Constant{Value::Own(text)});
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseList() {
  const int line = stream_.line();
  ListDisplay list{/*tuple=*/false, {}};
  stream_.Next();
  while (!stream_.IsOperator("]")) {
    TERNION_ASSIGN_OR_RETURN(ExpressionPtr item, ParseExpression());
    list.items.push_back(std::move(item));
    if (!stream_.SkipOperator(",")) break;
  }
  TERNION_RETURN_IF_ERROR(stream_.ExpectOperator("]"));
  return Make(line, std::move(list));
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseDict() {
  const int line = stream_.line();
  DictDisplay dict;
  stream_.Next();
  while (!stream_.IsOperator("}")) {
    TERNION_ASSIGN_OR_RETURN(ExpressionPtr key, ParseExpression());
    TERNION_RETURN_IF_ERROR(stream_.ExpectOperator(":"));
    TERNION_ASSIGN_OR_RETURN(ExpressionPtr value, ParseExpression());
    dict.items.emplace_back(std::move(key), std::move(value));
    if (!stream_.SkipOperator(",")) break;
  }
  TERNION_RETURN_IF_ERROR(stream_.ExpectOperator("}"));
  return Make(line, std::move(dict));
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParsePostfix(ExpressionPtr expression) {
  while (true) {
    if (stream_.IsOperator(".")) {
      TERNION_ASSIGN_OR_RETURN(expression, ParseAttribute(std::move(expression)));
    } else if (stream_.IsOperator("[")) {
      TERNION_ASSIGN_OR_RETURN(expression, ParseSubscript(std::move(expression)));
    } else if (stream_.IsOperator("(")) {
      TERNION_ASSIGN_OR_RETURN(expression, ParseCall(std::move(expression)));
    } else {
      return expression;
    }
  }
}

// Filters, tests, and calls of what they give.
absl::StatusOr<ExpressionPtr> ExpressionParser::ParseSuffixes(ExpressionPtr expression) {
  while (true) {
    if (stream_.SkipOperator("|")) {
      TERNION_ASSIGN_OR_RETURN(expression, ParseFilter(std::move(expression)));
    } else if (stream_.SkipName("is")) {
      TERNION_ASSIGN_OR_RETURN(expression, ParseTest(std::move(expression)));
    } else if (stream_.IsOperator("(")) {
      TERNION_ASSIGN_OR_RETURN(expression, ParseCall(std::move(expression)));
    } else {
      return expression;
    }
  }
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseAttribute(ExpressionPtr object) {
  const int line = stream_.line();
  stream_.Next();
  if (stream_.Is(Token::Kind::kInteger)) {
    TERNION_ASSIGN_OR_RETURN(ExpressionPtr index, Make(line, Constant{Value::Int(stream_.Next().integer)}));
    return Make(line, Subscript{std::move(object), std::move(index)});
  }
  TERNION_ASSIGN_OR_RETURN(std::string name, stream_.TakeName());
  return Make(line, Attribute{std::move(object), std::move(name)});
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseSubscript(ExpressionPtr object) {
  const int line = stream_.line();
  stream_.Next();
  if (stream_.IsOperator(":")) return ParseSlice(std::move(object), nullptr);
  TERNION_ASSIGN_OR_RETURN(ExpressionPtr index, ParseExpression());
  if (stream_.IsOperator(":")) return ParseSlice(std::move(object), std::move(index));
  TERNION_RETURN_IF_ERROR(stream_.ExpectOperator("]"));
  return Make(line, Subscript{std::move(object), std::move(index)});
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseSlice(ExpressionPtr object, ExpressionPtr start) {
  const int line = stream_.line();
  Slice slice;
  slice.object = std::move(object);
  slice.start = std::move(start);
  stream_.Next();
  if (!stream_.IsOperator(":") && !stream_.IsOperator("]")) {
    TERNION_ASSIGN_OR_RETURN(slice.stop, ParseExpression());
  }
  if (stream_.SkipOperator(":") && !stream_.IsOperator("]")) {
    TERNION_ASSIGN_OR_RETURN(slice.step, ParseExpression());
  }
  TERNION_RETURN_IF_ERROR(stream_.ExpectOperator("]"));
  return Make(line, std::move(slice));
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseCall(ExpressionPtr callee) {
  const int line = stream_.line();
  TERNION_ASSIGN_OR_RETURN(CallArguments arguments, ParseArguments());
  return Make(line, Call{std::move(callee), std::move(arguments)});
}

absl::StatusOr<CallArguments> ExpressionParser::ParseArguments() {
  CallArguments arguments;
  TERNION_RETURN_IF_ERROR(stream_.ExpectOperator("("));
  while (!stream_.IsOperator(")")) {
    TERNION_RETURN_IF_ERROR(ParseArgument(arguments));
    if (!stream_.SkipOperator(",")) break;
  }
  TERNION_RETURN_IF_ERROR(stream_.ExpectOperator(")"));
  return arguments;
}

absl::Status ExpressionParser::ParseArgument(CallArguments& arguments) {
  const Token& following = stream_.following();
  const bool named =
      stream_.Is(Token::Kind::kName) && following.kind == Token::Kind::kOperator && following.text == "=";
  const bool list = stream_.IsOperator("*");
  const bool dict = stream_.IsOperator("**");
  const bool behind_list = arguments.more_positional != nullptr && !named && !dict;
  const bool behind_named = !arguments.named.empty() && !named && !dict && !list;
  const bool out_of_order = arguments.more_named != nullptr || behind_list || behind_named;
  if (out_of_order) return stream_.Fail("the argument must stand before named ones, *list and **dict");
  std::string name = named ? stream_.Next().text : "";
  if (named || list || dict) stream_.Next();
  TERNION_ASSIGN_OR_RETURN(ExpressionPtr value, ParseExpression());
  if (named) {
    arguments.named.emplace_back(std::move(name), std::move(value));
  } else if (list || dict) {
    (list ? arguments.more_positional : arguments.more_named) = std::move(value);
  } else {
    arguments.positional.push_back(std::move(value));
  }
  return absl::OkStatus();
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseFilters(ExpressionPtr input) {
  do {
    TERNION_ASSIGN_OR_RETURN(input, ParseFilter(std::move(input)));
  } while (stream_.SkipOperator("|"));
  return input;
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseFilter(ExpressionPtr input) {
  const int line = stream_.line();
  Filter filter;
  filter.input = std::move(input);
  TERNION_RETURN_IF_ERROR(CheckKnown(HasFilter(stream_.current().text), "filter", stream_.current().text));
  TERNION_ASSIGN_OR_RETURN(filter.name, stream_.TakeName());
  if (stream_.IsOperator("(")) {
    TERNION_ASSIGN_OR_RETURN(filter.arguments, ParseArguments());
  }
  return Make(line, std::move(filter));
}

absl::StatusOr<ExpressionPtr> ExpressionParser::ParseTest(ExpressionPtr input) {
  const int line = stream_.line();
  const bool negated = stream_.SkipName("not");
  Test test;
  test.input = std::move(input);
  TERNION_RETURN_IF_ERROR(CheckKnown(HasTest(stream_.current().text), "test", stream_.current().text));
  TERNION_ASSIGN_OR_RETURN(test.name, stream_.TakeName());
  TERNION_ASSIGN_OR_RETURN(test.arguments, ParseTestArguments());
  TERNION_ASSIGN_OR_RETURN(ExpressionPtr expression, Make(line, std::move(test)));
  return negated ? Make(line, Unary{UnaryOp::kNot, std::move(expression)}) : std::move(expression);
}

// In parentheses, or one argument without them: `x is divisibleby 3`.
absl::StatusOr<CallArguments> ExpressionParser::ParseTestArguments() {
  if (stream_.IsOperator("(")) return ParseArguments();
  CallArguments arguments;
  const bool literal = stream_.Is(Token::Kind::kString) || stream_.Is(Token::Kind::kInteger) ||
                       stream_.Is(Token::Kind::kFloat) || stream_.IsOperator("[") || stream_.IsOperator("{");
  const bool name = stream_.Is(Token::Kind::kName) && !stream_.IsOneOfNames({"else", "or", "and"});
  if (!literal && !name) return arguments;
  TERNION_ASSIGN_OR_RETURN(ExpressionPtr argument, ParsePrimary());
  TERNION_ASSIGN_OR_RETURN(argument, ParsePostfix(std::move(argument)));
  arguments.positional.push_back(std::move(argument));
  return arguments;
}

absl::Status ExpressionParser::CheckKnown(bool known, std::string_view kind, const std::string& name) const {
  if (known || branches_ > 0 || !stream_.Is(Token::Kind::kName)) return absl::OkStatus();
  return stream_.Fail(absl::StrCat("there is no ", ToAbsl(kind), " '", name, "'"));
}

}  // namespace ternion::jinja
