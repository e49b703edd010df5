#pragma once

#include <string_view>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "runtime/text/jinja/builtin.h"
#include "runtime/text/jinja/callable.h"
#include "runtime/text/jinja/render_state.h"
#include "runtime/text/jinja/value.h"

namespace ternion::jinja {

// Jinja 3.1's filters but for those of HTML (escape, striptags, urlize, xmlattr, ...), random, pprint, wordwrap and
// filesizeformat. `safe` changes nothing, as nothing here is escaped; `tojson` is that of Hugging Face's transformers.
bool HasFilter(std::string_view name);
// kInvalidArgument: there is no such filter, or its arguments do not fit.
absl::StatusOr<Value> ApplyFilter(RenderState& state, std::string_view name, const Value& input,
                                  const Arguments& arguments);

// Each kind has a file of its own.
absl::Span<const Builtin> TextFilters();
absl::Span<const Builtin> NumberFilters();
absl::Span<const Builtin> SequenceFilters();
absl::Span<const Builtin> OrderFilters();
absl::Span<const Builtin> SelectionFilters();

}  // namespace ternion::jinja
