#include "runtime/text/jinja/template.h"

#include "absl/strings/str_cat.h"
#include "kernels/status.h"
#include "runtime/text/jinja/globals.h"
#include "runtime/text/jinja/interpreter.h"
#include "runtime/text/jinja/json.h"
#include "runtime/text/jinja/parser.h"
#include "runtime/text/jinja/source.h"

namespace ternion::jinja {

absl::StatusOr<std::unique_ptr<const Template>> Template::Parse(std::string_view source) {
  TERNION_ASSIGN_OR_RETURN(Body body, jinja::Parse(Source(source)));
  return std::unique_ptr<const Template>(new Template(std::move(body)));
}

absl::StatusOr<Text> Template::Render(const Variables& variables, const std::tm& now,
                                      const Limits& limits) const {
  RenderState state(limits, now);
  Scope known;
  AddGlobals(known);
  for (const auto& [name, value] : variables) known.Set(name, value);
  Scope root{&known, {}};
  Text out;
  const absl::Status status = Interpreter(state).Run(body_, root, out);
  if (status.ok()) return out;
  if (IsRaised(status)) return absl::InvalidArgumentError(status.message());
  return absl::FailedPreconditionError(absl::StrCat("line ", state.line(), ": ", status.message()));
}

absl::StatusOr<std::string> RenderOnce(std::string_view source, const nlohmann::json& variables,
                                       const Limits& limits) {
  TERNION_ASSIGN_OR_RETURN(const auto parsed, Template::Parse(source));
  Variables values;
  for (const auto& [name, value] : variables.items()) values.emplace_back(name, FromJson(value));
  TERNION_ASSIGN_OR_RETURN(const Text text, parsed->Render(values, std::tm(), limits));
  return text.bytes();
}

}  // namespace ternion::jinja
