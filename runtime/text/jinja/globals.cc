#include "runtime/text/jinja/globals.h"

#include <ctime>
#include <limits>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "kernels/status.h"
#include "runtime/text/jinja/builtin.h"
#include "runtime/text/jinja/callable.h"
#include "runtime/text/jinja/iterate.h"
#include "runtime/text/jinja/print.h"
#include "runtime/text/utf8.h"

namespace ternion::jinja {
namespace {

using ValueOr = absl::StatusOr<Value>;

constexpr int64_t kLongestRange = 100'000;  // as in Jinja's sandbox

class Global final : public Callable {
 public:
  explicit Global(const Builtin& builtin) : builtin_(builtin) {}
  ValueOr Call(RenderState& state, const Arguments& arguments) const override {
    return Invoke(builtin_, state, Value(), arguments);
  }
  std::string_view name() const override { return builtin_.name; }
  int nesting() const override { return 0; }

 private:
  const Builtin& builtin_;
};

ValueOr Range(RenderState& state, const Value&, const Bound& arguments) {
  TERNION_ASSIGN_OR_RETURN(const int64_t first, arguments.Int(0));
  TERNION_ASSIGN_OR_RETURN(const int64_t second, arguments.Int(1));
  TERNION_ASSIGN_OR_RETURN(const int64_t step, arguments.Int(2, 1));
  const int64_t start = arguments.Has(1) ? first : 0;
  const int64_t stop = arguments.Has(1) ? second : first;
  if (step == 0) return absl::InvalidArgumentError("range() arg 3 must not be zero");
  std::vector<Value> items;
  for (int64_t i = start; step > 0 ? i < stop : i > stop;) {
    if (static_cast<int64_t>(items.size()) == kLongestRange) {
      return absl::OutOfRangeError(absl::StrCat("range() gives more than ", kLongestRange, " numbers"));
    }
    items.push_back(Value::Int(i));
    if (__builtin_add_overflow(i, step, &i)) break;
  }
  TERNION_RETURN_IF_ERROR(state.Spend(static_cast<int64_t>(items.size()), sizeof(Value)));
  return Value::Of(std::make_shared<const Sequence>(Sequence::Kind::kRange, std::move(items)));
}

// As Python's dict(mapping or pairs, **named).
absl::StatusOr<Dict> DictOf(RenderState& state, const Arguments& arguments) {
  Dict dict;
  for (const Value& source : arguments.positional) {
    TERNION_RETURN_IF_ERROR(state.Spend(source.weight()));
    const Dict* mapping = source.dict();
    TERNION_ASSIGN_OR_RETURN(const auto pairs,
                             Items(state, mapping == nullptr ? source : Value::List(EntriesOf(*mapping))));
    for (const Value& pair : pairs->items) {
      const Sequence* two = pair.sequence();
      const bool fits = two != nullptr && two->items.size() == 2 && dict.Set(two->items[0], two->items[1]);
      if (!fits) return WrongType("what dict() is given", "a mapping or pairs", pair);
    }
  }
  for (const auto& [name, value] : arguments.named) dict.Set(name, value);
  return dict;
}

ValueOr MakeDict(RenderState& state, const Value&, const Bound& arguments) {
  TERNION_ASSIGN_OR_RETURN(Dict dict, DictOf(state, arguments.rest()));
  return Value::Of(std::make_shared<const Dict>(std::move(dict)));
}

ValueOr MakeNamespace(RenderState& state, const Value&, const Bound& arguments) {
  TERNION_ASSIGN_OR_RETURN(Dict values, DictOf(state, arguments.rest()));
  TERNION_RETURN_IF_ERROR(state.Spend(sizeof(Namespace)));
  std::shared_ptr<Namespace> space = state.NewNamespace();
  space->values = std::move(values);
  return Value::Of(std::move(space));
}

ValueOr RaiseException(RenderState& state, const Value&, const Bound& arguments) {
  TERNION_RETURN_IF_ERROR(state.Spend(arguments[0].weight()));
  return absl::AbortedError(Str(arguments[0]).bytes());
}

// C's strftime, which is Python's too, in the C locale.
ValueOr FormatNow(RenderState& state, const Value&, const Bound& arguments) {
  TERNION_ASSIGN_OR_RETURN(const Text format, arguments.String(0));
  if (format.empty()) return Value::Own("");
  char buffer[256];
  const size_t size = std::strftime(buffer, sizeof(buffer), format.bytes().c_str(), &state.now());
  const std::string text(buffer, size);
  const bool fits = (size > 0 || format.bytes() == "%p") && FindInvalidUtf8(text) == std::string::npos;
  if (!fits) return absl::InvalidArgumentError("strftime_now() gives no text of at most 255 bytes");
  return Value::String(Text::MadeOf(text, format));
}

constexpr Builtin kGlobals[] = {
    {"range", "start stop? step?", Range}, {"dict", "*", MakeDict},
    {"namespace", "*", MakeNamespace},     {"raise_exception", "message", RaiseException},
    {"strftime_now", "format", FormatNow},
};

}  // namespace

void AddGlobals(Scope& scope) {
  for (const Builtin& global : kGlobals) {
    scope.Set(global.name, Value::Of(std::shared_ptr<const Callable>(std::make_shared<Global>(global))));
  }
}

bool IsRaised(const absl::Status& status) { return absl::IsAborted(status); }

}  // namespace ternion::jinja
