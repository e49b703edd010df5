#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/text/jinja/ast.h"
#include "runtime/text/jinja/token_stream.h"

namespace ternion::jinja {

// Levels of brackets, calls and blocks in one another, and the tallest expression: they bound the recursion of parser
// and interpreter.
inline constexpr int kMostParserDepth = 100;
inline constexpr int kMostHeight = 200;

// Parses expressions, with Jinja's precedence. Every method begins at the current token and stops behind what it read.
class ExpressionParser {
 public:
  explicit ExpressionParser(TokenStream& stream) : stream_(stream) {}

  // Without `conditional` an "if" behind the expression is left to the caller.
  absl::StatusOr<ExpressionPtr> ParseExpression(bool conditional = true);
  // As ParseExpression; with commas a tuple. An empty one needs `parentheses` around it.
  absl::StatusOr<ExpressionPtr> ParseTuple(bool conditional, bool parentheses = false);
  // "name(arguments) | name ...", applied to `input`, or for a block to null.
  absl::StatusOr<ExpressionPtr> ParseFilters(ExpressionPtr input);

  // Counts a level of nesting while it lives.
  class Level {
   public:
    explicit Level(ExpressionParser& parser) : parser_(parser) { ++parser_.depth_; }
    ~Level() { --parser_.depth_; }
    absl::Status Check() const;

   private:
    ExpressionParser& parser_;
  };

  // Unknown filters and tests are errors here, but for those that only a condition leads to: they fail when they run.
  class Branch {
   public:
    explicit Branch(ExpressionParser& parser) : parser_(parser) { ++parser_.branches_; }
    ~Branch() { --parser_.branches_; }

   private:
    ExpressionParser& parser_;
  };

  // Which of a macro's special names were read.
  struct Specials {
    bool caller = false;
    bool varargs = false;
    bool kwargs = false;
  };
  Specials& specials() { return specials_; }

 private:
  using ExpressionOr = absl::StatusOr<ExpressionPtr>;
  using Method = ExpressionOr (ExpressionParser::*)();
  struct Operator {
    std::string_view text;
    BinaryOp op;
  };

  ExpressionOr ParseConditional();
  ExpressionOr ParseOr();
  ExpressionOr ParseAnd();
  ExpressionOr ParseNot();
  ExpressionOr ParseCompare();
  ExpressionOr ParseSum();
  ExpressionOr ParseConcat();
  ExpressionOr ParseProduct();
  ExpressionOr ParsePower();
  ExpressionOr ParseUnary() { return ParseUnary(/*with_filters=*/true); }
  ExpressionOr ParseUnary(bool with_filters);
  ExpressionOr ParseBinary(Method operand, std::initializer_list<Operator> operators);
  ExpressionOr ParsePrimary();
  ExpressionOr ParseName();
  ExpressionOr ParseString();
  ExpressionOr ParseList();
  ExpressionOr ParseDict();
  ExpressionOr ParsePostfix(ExpressionPtr expression);
  ExpressionOr ParseSuffixes(ExpressionPtr expression);
  ExpressionOr ParseAttribute(ExpressionPtr object);
  ExpressionOr ParseSubscript(ExpressionPtr object);
  ExpressionOr ParseSlice(ExpressionPtr object, ExpressionPtr start);
  ExpressionOr ParseCall(ExpressionPtr callee);
  ExpressionOr ParseFilter(ExpressionPtr input);
  ExpressionOr ParseTest(ExpressionPtr input);
  absl::StatusOr<CallArguments> ParseArguments();
  absl::Status ParseArgument(CallArguments& arguments);
  absl::StatusOr<CallArguments> ParseTestArguments();
  bool ReadCompareOp(CompareOp* op);
  bool AtTupleEnd() const;
  absl::Status CheckKnown(bool known, std::string_view kind, const std::string& name) const;

  // kInvalidArgument when the tree becomes too tall.
  ExpressionOr Make(int line, Expression::Form form) const;

  TokenStream& stream_;
  int depth_ = 0;
  int branches_ = 0;
  Specials specials_;
};

}  // namespace ternion::jinja
