#include "runtime/text/jinja/render_state.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "kernels/status.h"

namespace ternion::jinja {
namespace {

constexpr int64_t kScopeBytes = 256;  // with a few variables

absl::Status TooMuch(int64_t limit, absl::string_view what) {
  return absl::OutOfRangeError(absl::StrCat("the template takes more than ", limit, " ", what));
}

}  // namespace

const Value* Scope::Find(std::string_view name) const {
  for (const Scope* scope = this; scope != nullptr; scope = scope->outer) {
    for (const auto& [known, value] : scope->variables) {
      if (known == name) return &value;
    }
  }
  return nullptr;
}

void Scope::Set(std::string_view name, Value value) {
  for (auto& [known, held] : variables) {
    if (known == name) {
      held = std::move(value);
      return;
    }
  }
  variables.emplace_back(name, std::move(value));
}

// Namespaces and loops may hold themselves: each is emptied while all are still there.
RenderState::~RenderState() {
  for (const auto& space : namespaces_) space->values = Dict();
  for (const auto& loop : loops_) *loop = Loop();
}

absl::Status RenderState::Step(int line) {
  line_ = line;
  return ++steps_ <= limits_.steps ? absl::OkStatus() : TooMuch(limits_.steps, "steps");
}

absl::Status RenderState::Spend(int64_t count, int64_t bytes_each) {
  const int64_t left = limits_.work_bytes - spent_bytes_;
  if (bytes_each > 0 && count > left / bytes_each) return TooMuch(limits_.work_bytes, "bytes of work");
  spent_bytes_ += std::max<int64_t>(count, 0) * bytes_each;
  return absl::OkStatus();
}

absl::Status RenderState::CheckSize(const Value& value) const {
  if (value.nesting() > limits_.nesting) return TooMuch(limits_.nesting, "levels of lists in one another");
  return value.weight() <= limits_.work_bytes ? absl::OkStatus()
                                              : TooMuch(limits_.work_bytes, "bytes for a value");
}

absl::Status RenderState::Level::Check() const {
  const int limit = state_.limits_.depth;
  return state_.depth_ <= limit ? absl::OkStatus() : TooMuch(limit, "levels of calls and expressions");
}

absl::StatusOr<Scope*> RenderState::NewScope(Scope* outer) {
  TERNION_RETURN_IF_ERROR(Spend(kScopeBytes));
  return &scopes_.emplace_back(Scope{outer, {}});
}

std::shared_ptr<Namespace> RenderState::NewNamespace() {
  return namespaces_.emplace_back(std::make_shared<Namespace>());
}

std::shared_ptr<Loop> RenderState::NewLoop() { return loops_.emplace_back(std::make_shared<Loop>()); }

}  // namespace ternion::jinja
