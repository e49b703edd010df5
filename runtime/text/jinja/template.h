#pragma once

#include <ctime>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "nlohmann/json.hpp"
#include "runtime/text/jinja/ast.h"
#include "runtime/text/jinja/render_state.h"
#include "runtime/text/jinja/text.h"
#include "runtime/text/jinja/value.h"

namespace ternion::jinja {

using Variables = std::vector<std::pair<std::string, Value>>;

// A Jinja template as Hugging Face's transformers runs chat templates: Jinja 3.1's immutable sandbox with trim_blocks,
// lstrip_blocks, break and continue, tojson without HTML's escapes, raise_exception and strftime_now. What it knows is
// told in parser.h, filters.h, tests.h, methods.h and globals.h; it reaches nothing but the variables. Integers have
// 64 bits, and a range is shown as a list. Immutable and thread-safe.
class Template {
 public:
  // kInvalidArgument: "line 3, column 5: ...".
  static absl::StatusOr<std::unique_ptr<const Template>> Parse(std::string_view source);

  // `now`: the local time that strftime_now tells. kInvalidArgument: the template called raise_exception, with this
  // message. kFailedPrecondition: "line 3: ...", an operation that fails, or a limit.
  absl::StatusOr<Text> Render(const Variables& variables, const std::tm& now,
                              const Limits& limits = {}) const;

 private:
  explicit Template(Body body) : body_(std::move(body)) {}

  const Body body_;
};

// Parses and renders at once; the variables are the members of an object. For tests and fuzzing.
absl::StatusOr<std::string> RenderOnce(std::string_view source, const nlohmann::json& variables,
                                       const Limits& limits = {});

}  // namespace ternion::jinja
