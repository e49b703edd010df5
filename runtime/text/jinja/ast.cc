#include "runtime/text/jinja/ast.h"

#include <algorithm>

namespace ternion::jinja {
namespace {

// The height of the tallest of the expressions in a form.
struct Tallest {
  int operator()(const ExpressionPtr& expression) const {
    return expression == nullptr ? 0 : expression->height;
  }
  int operator()(const Constant&) const { return 0; }
  int operator()(const Name&) const { return 0; }
  int operator()(const ListDisplay& form) const { return All(form.items); }
  int operator()(const DictDisplay& form) const {
    int height = 0;
    for (const auto& [key, value] : form.items) height = std::max({height, (*this)(key), (*this)(value)});
    return height;
  }
  int operator()(const Unary& form) const { return (*this)(form.operand); }
  int operator()(const Binary& form) const { return std::max((*this)(form.left), (*this)(form.right)); }
  int operator()(const Compare& form) const { return std::max((*this)(form.first), Seconds(form.rest)); }
  int operator()(const Conditional& form) const {
    return std::max({(*this)(form.condition), (*this)(form.then), (*this)(form.otherwise)});
  }
  int operator()(const Attribute& form) const { return (*this)(form.object); }
  int operator()(const Subscript& form) const { return std::max((*this)(form.object), (*this)(form.index)); }
  int operator()(const Slice& form) const {
    return std::max({(*this)(form.object), (*this)(form.start), (*this)(form.stop), (*this)(form.step)});
  }
  int operator()(const CallArguments& form) const {
    return std::max(
        {All(form.positional), Seconds(form.named), (*this)(form.more_positional), (*this)(form.more_named)});
  }
  int operator()(const Call& form) const { return std::max((*this)(form.callee), (*this)(form.arguments)); }
  int operator()(const Filter& form) const { return std::max((*this)(form.input), (*this)(form.arguments)); }
  int operator()(const Test& form) const { return std::max((*this)(form.input), (*this)(form.arguments)); }

 private:
  int All(const std::vector<ExpressionPtr>& expressions) const {
    int height = 0;
    for (const ExpressionPtr& expression : expressions) height = std::max(height, (*this)(expression));
    return height;
  }
  template <typename First>
  int Seconds(const std::vector<std::pair<First, ExpressionPtr>>& pairs) const {
    int height = 0;
    for (const auto& pair : pairs) height = std::max(height, (*this)(pair.second));
    return height;
  }
};

}  // namespace

Expression::Expression(int at_line, Form of)
    : line(at_line), height(1 + std::visit(Tallest(), of)), form(std::move(of)) {}

}  // namespace ternion::jinja
