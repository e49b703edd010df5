#include <string>
#include <utility>

#include "kernels/status.h"
#include "runtime/text/jinja/access.h"
#include "runtime/text/jinja/filters.h"
#include "runtime/text/jinja/iterate.h"
#include "runtime/text/jinja/tests.h"

namespace ternion::jinja {
namespace {

using ValueOr = absl::StatusOr<Value>;

// The name of a filter or test that stands first among the arguments, and the arguments behind it.
absl::StatusOr<std::pair<std::string, Arguments>> SplitName(const Arguments& arguments) {
  if (arguments.positional.empty() || arguments.positional[0].text() == nullptr) {
    return absl::InvalidArgumentError("the name of a filter or test is to be the first argument");
  }
  Arguments rest{{arguments.positional.begin() + 1, arguments.positional.end()}, arguments.named};
  return std::make_pair(arguments.positional[0].text()->bytes(), std::move(rest));
}

// map(attribute="path", default=value)
ValueOr MapAttribute(RenderState& state, const Value& self, const Arguments& arguments) {
  TERNION_ASSIGN_OR_RETURN(const Bound bound, Bound::Bind("map", "attribute default?", arguments));
  TERNION_ASSIGN_OR_RETURN(const auto items, Items(state, self));
  const Value absent = bound.Has(1) && !bound[1].is_none() ? bound[1] : Value();
  std::vector<Value> mapped;
  for (const Value& item : items->items) {
    TERNION_RETURN_IF_ERROR(state.Step(state.line()));
    TERNION_ASSIGN_OR_RETURN(Value value, GetPath(state, item, bound[0], absent));
    mapped.push_back(std::move(value));
  }
  return MakeIterator(std::move(mapped));
}

ValueOr Map(RenderState& state, const Value& self, const Bound& arguments) {
  if (!self.Truth()) return MakeIterator({});
  if (arguments.rest().positional.empty()) return MapAttribute(state, self, arguments.rest());
  TERNION_ASSIGN_OR_RETURN(const auto filter, SplitName(arguments.rest()));
  TERNION_ASSIGN_OR_RETURN(const auto items, Items(state, self));
  const RenderState::Level level(state);  // map('map', 'map', ...)
  TERNION_RETURN_IF_ERROR(level.Check());
  std::vector<Value> mapped;
  for (const Value& item : items->items) {
    TERNION_RETURN_IF_ERROR(state.Step(state.line()));
    TERNION_ASSIGN_OR_RETURN(Value value, ApplyFilter(state, filter.first, item, filter.second));
    mapped.push_back(std::move(value));
  }
  return MakeIterator(std::move(mapped));
}

// The items for which a test is true, or without a test those that are; `path`: it is put to an attribute.
ValueOr Selected(RenderState& state, const Value& self, const Value* path, const Arguments& test,
                 bool wanted) {
  if (!self.Truth()) return MakeIterator({});
  std::pair<std::string, Arguments> named;
  if (!test.positional.empty()) {
    TERNION_ASSIGN_OR_RETURN(named, SplitName(test));
  }
  TERNION_ASSIGN_OR_RETURN(const auto items, Items(state, self));
  std::vector<Value> selected;
  for (const Value& item : items->items) {
    TERNION_RETURN_IF_ERROR(state.Step(state.line()));
    Value value = item;
    if (path != nullptr) {
      TERNION_ASSIGN_OR_RETURN(value, GetPath(state, item, *path));
    }
    bool holds = value.Truth();
    if (!named.first.empty()) {
      TERNION_ASSIGN_OR_RETURN(holds, ApplyTest(state, named.first, value, named.second));
    }
    if (holds == wanted) selected.push_back(item);
  }
  return MakeIterator(std::move(selected));
}

ValueOr Select(RenderState& state, const Value& self, const Bound& arguments) {
  return Selected(state, self, nullptr, arguments.rest(), true);
}
ValueOr Reject(RenderState& state, const Value& self, const Bound& arguments) {
  return Selected(state, self, nullptr, arguments.rest(), false);
}
ValueOr SelectAttribute(RenderState& state, const Value& self, const Bound& arguments) {
  return Selected(state, self, &arguments[0], arguments.rest(), true);
}
ValueOr RejectAttribute(RenderState& state, const Value& self, const Bound& arguments) {
  return Selected(state, self, &arguments[0], arguments.rest(), false);
}

constexpr Builtin kFilters[] = {
    {"map", "*", Map},
    {"reject", "*", Reject},
    {"rejectattr", "attr *", RejectAttribute},
    {"select", "*", Select},
    {"selectattr", "attr *", SelectAttribute},
};

}  // namespace

absl::Span<const Builtin> SelectionFilters() { return kFilters; }

}  // namespace ternion::jinja
