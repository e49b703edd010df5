#pragma once

#include "absl/status/status.h"
#include "runtime/text/jinja/render_state.h"

namespace ternion::jinja {

// The functions that every template finds: range, dict, namespace, and transformers' raise_exception and strftime_now.
void AddGlobals(Scope& scope);

// Did a template call raise_exception? The message is then the template's own.
bool IsRaised(const absl::Status& status);

}  // namespace ternion::jinja
