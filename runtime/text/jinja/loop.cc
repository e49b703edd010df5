#include "runtime/text/jinja/loop.h"

#include <memory>
#include <utility>

#include "runtime/text/jinja/callable.h"
#include "runtime/text/jinja/compare.h"
#include "runtime/text/jinja/render_state.h"

namespace ternion::jinja {
namespace {

class LoopMethod final : public Callable {
 public:
  LoopMethod(std::string_view name, std::shared_ptr<Loop> loop) : name_(name), loop_(std::move(loop)) {}
  std::string_view name() const override { return name_; }
  int nesting() const override { return 0; }  // a loop lives to the rendering's end

  absl::StatusOr<Value> Call(RenderState& state, const Arguments& arguments) const override {
    if (!arguments.named.empty())
      return absl::InvalidArgumentError("a method of loop takes no named arguments");
    return name_ == "cycle" ? Cycle(arguments.positional) : Changed(state, arguments.positional);
  }

 private:
  absl::StatusOr<Value> Cycle(const std::vector<Value>& values) const {
    if (values.empty()) return absl::InvalidArgumentError("no items for cycling given");
    return values[static_cast<size_t>(loop_->index0) % values.size()];
  }

  absl::StatusOr<Value> Changed(RenderState& state, const std::vector<Value>& values) const {
    const Value seen = Value::Tuple(loop_->changed.value_or(std::vector<Value>()));
    const Value now = Value::Tuple(values);
    if (absl::Status spent = SpendOnComparison(state, seen, now); !spent.ok()) return spent;
    const bool changed = !loop_->changed.has_value() || !Equals(seen, now);
    if (changed) loop_->changed = values;
    return Value::Bool(changed);
  }

  const std::string_view name_;
  const std::shared_ptr<Loop> loop_;
};

}  // namespace

std::optional<Value> LoopAttribute(const Value& value, std::string_view name) {
  const Loop& loop = *value.loop();
  const std::vector<Value>& items = loop.sequence->items;
  const auto length = static_cast<int64_t>(items.size());
  if (name == "index") return Value::Int(loop.index0 + 1);
  if (name == "index0") return Value::Int(loop.index0);
  if (name == "revindex") return Value::Int(length - loop.index0);
  if (name == "revindex0") return Value::Int(length - loop.index0 - 1);
  if (name == "first") return Value::Bool(loop.index0 == 0);
  if (name == "last") return Value::Bool(loop.index0 + 1 == length);
  if (name == "length") return Value::Int(length);
  if (name == "depth") return Value::Int(loop.depth0 + 1);
  if (name == "depth0") return Value::Int(loop.depth0);
  if (name == "previtem") {
    return loop.index0 == 0 ? Value::Undefined("there is no previous item") : items[loop.index0 - 1];
  }
  if (name == "nextitem") {
    return loop.index0 + 1 < length ? items[loop.index0 + 1] : Value::Undefined("there is no next item");
  }
  for (const std::string_view method : {"cycle", "changed"}) {
    if (name == method) {
      return Value::Of(
          std::shared_ptr<const Callable>(std::make_shared<LoopMethod>(method, value.shared_loop())));
    }
  }
  return std::nullopt;
}

}  // namespace ternion::jinja
