#include "runtime/text/jinja/filters.h"

#include "absl/strings/str_cat.h"
#include "kernels/status.h"

namespace ternion::jinja {
namespace {

const Builtin* FindFilter(std::string_view name) {
  for (const auto& table :
       {TextFilters(), NumberFilters(), SequenceFilters(), OrderFilters(), SelectionFilters()}) {
    if (const Builtin* filter = FindBuiltin(table, name)) return filter;
  }
  return nullptr;
}

}  // namespace

bool HasFilter(std::string_view name) { return FindFilter(name) != nullptr; }

absl::StatusOr<Value> ApplyFilter(RenderState& state, std::string_view name, const Value& input,
                                  const Arguments& arguments) {
  const Builtin* filter = FindFilter(name);
  if (filter == nullptr)
    return absl::InvalidArgumentError(absl::StrCat("there is no filter '", ToAbsl(name), "'"));
  return Invoke(*filter, state, input, arguments);
}

}  // namespace ternion::jinja
