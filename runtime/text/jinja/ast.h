#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "runtime/text/jinja/value.h"

namespace ternion::jinja {

struct Expression;
using ExpressionPtr = std::unique_ptr<const Expression>;

struct Constant {
  Value value;
};
struct Name {
  std::string name;
};
struct ListDisplay {
  bool tuple;
  std::vector<ExpressionPtr> items;
};
struct DictDisplay {
  std::vector<std::pair<ExpressionPtr, ExpressionPtr>> items;
};

enum class UnaryOp : uint8_t { kNot, kMinus, kPlus };
struct Unary {
  UnaryOp op;
  ExpressionPtr operand;
};

enum class BinaryOp : uint8_t { kAnd, kOr, kAdd, kSub, kMul, kDiv, kFloorDiv, kMod, kPow, kConcat };
struct Binary {
  BinaryOp op;
  ExpressionPtr left;
  ExpressionPtr right;
};

enum class CompareOp : uint8_t { kEq, kNe, kLt, kLe, kGt, kGe, kIn, kNotIn };
// first op second op third ..., as Python chains them.
struct Compare {
  ExpressionPtr first;
  std::vector<std::pair<CompareOp, ExpressionPtr>> rest;
};

struct Conditional {
  ExpressionPtr condition;
  ExpressionPtr then;
  ExpressionPtr otherwise;  // null: undefined
};
struct Attribute {
  ExpressionPtr object;
  std::string name;
};
struct Subscript {
  ExpressionPtr object;
  ExpressionPtr index;
};
struct Slice {
  ExpressionPtr object;
  ExpressionPtr start;  // each may be null
  ExpressionPtr stop;
  ExpressionPtr step;
};

struct CallArguments {
  std::vector<ExpressionPtr> positional;
  std::vector<std::pair<std::string, ExpressionPtr>> named;
  ExpressionPtr more_positional;  // *list; may be null
  ExpressionPtr more_named;       // **dict; may be null
};
struct Call {
  ExpressionPtr callee;
  CallArguments arguments;
};
// input | name(arguments), or input is name(arguments)
struct Filter {
  ExpressionPtr input;  // null: the body of the block around it
  std::string name;
  CallArguments arguments;
};
struct Test {
  ExpressionPtr input;
  std::string name;
  CallArguments arguments;
};

struct Expression {
  using Form = std::variant<Constant, Name, ListDisplay, DictDisplay, Unary, Binary, Compare, Conditional,
                            Attribute, Subscript, Slice, Call, Filter, Test>;
  Expression(int at_line, Form of);

  int line;
  int height;  // of the tree; 1 for a leaf
  Form form;
};

struct Statement;
using Body = std::vector<Statement>;

// What an assignment writes to: a name, an attribute of a namespace, or several of them.
struct Target {
  std::string name;
  std::string attribute;      // not empty: of the namespace `name`
  std::vector<Target> parts;  // not empty: unpacks a sequence
  bool unpacks = false;
};

struct Data {
  Text text;
};
struct Output {
  std::vector<ExpressionPtr> values;
};
struct If {
  std::vector<std::pair<ExpressionPtr, Body>> branches;
  Body otherwise;
};
struct For {
  Target target;
  ExpressionPtr items;
  ExpressionPtr condition;  // may be null
  bool recursive;
  Body body;
  Body otherwise;
};
struct Set {
  Target target;
  ExpressionPtr value;
};
struct SetBlock {
  Target target;
  ExpressionPtr filter;  // may be null
  Body body;
};
struct With {
  std::vector<std::pair<Target, ExpressionPtr>> values;
  Body body;
};

struct Parameter {
  std::string name;
  ExpressionPtr value;  // where it is not given; may be null
};
// A macro, or the body of a call block.
struct Function {
  std::string name;
  std::vector<Parameter> parameters;
  Body body;
  bool takes_caller = false;  // the body names `caller`, and so on
  bool takes_varargs = false;
  bool takes_kwargs = false;
};
struct MacroDefinition {
  Function function;
};
struct CallBlock {
  Function caller;
  ExpressionPtr call;
};
struct FilterBlock {
  ExpressionPtr filter;
  Body body;
};
// {% generation %}: marks what a model wrote, for training; shows its body.
struct Generation {
  Body body;
};
struct Break {};
struct Continue {};

struct Statement {
  using Form = std::variant<Data, Output, If, For, Set, SetBlock, With, MacroDefinition, CallBlock,
                            FilterBlock, Generation, Break, Continue>;
  int line;
  Form form;
};

}  // namespace ternion::jinja
