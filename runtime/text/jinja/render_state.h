#pragma once

#include <cstdint>
#include <ctime>
#include <deque>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runtime/text/jinja/loop.h"
#include "runtime/text/jinja/value.h"

namespace ternion::jinja {

// What one rendering may take. A template that needs more fails.
struct Limits {
  int64_t steps = 5'000'000;                // expressions and statements
  int64_t work_bytes = int64_t{256} << 20;  // of text and containers that are made or looked through
  int64_t output_bytes = int64_t{32} << 20;
  int depth = 600;    // evaluations in one another, macros' bodies included
  int nesting = 100;  // of containers
};

// The variables of a block. Names are the template's, and live as long.
struct Scope {
  Scope* outer = nullptr;
  std::vector<std::pair<std::string_view, Value>> variables;

  // Null when neither this scope nor one around it has the name.
  const Value* Find(std::string_view name) const;
  void Set(std::string_view name, Value value);
};

// One rendering: what it has spent, and the objects that live until its end because they may hold one another.
class RenderState {
 public:
  RenderState(const Limits& limits, const std::tm& now) : limits_(limits), now_(now) {}
  ~RenderState();
  RenderState(const RenderState&) = delete;
  RenderState& operator=(const RenderState&) = delete;

  const Limits& limits() const { return limits_; }
  const std::tm& now() const { return now_; }
  // Of what is evaluated now; after a failure, where it happened.
  int line() const { return line_; }

  // Each fails with kOutOfRange where a limit is passed.
  absl::Status Step(int line);
  absl::Status Spend(int64_t bytes) { return Spend(bytes, 1); }
  absl::Status Spend(int64_t count, int64_t bytes_each);
  absl::Status CheckSize(const Value& value) const;

  // Counts an evaluation inside another while it lives.
  class Level {
   public:
    explicit Level(RenderState& state) : state_(state) { ++state_.depth_; }
    ~Level() { --state_.depth_; }
    absl::Status Check() const;

   private:
    RenderState& state_;
  };

  // Fails as Spend does.
  absl::StatusOr<Scope*> NewScope(Scope* outer);
  std::shared_ptr<Namespace> NewNamespace();
  std::shared_ptr<Loop> NewLoop();

 private:
  const Limits limits_;
  const std::tm now_;
  int line_ = 0;
  int depth_ = 0;
  int64_t steps_ = 0;
  int64_t spent_bytes_ = 0;
  std::deque<Scope> scopes_;
  std::vector<std::shared_ptr<Namespace>> namespaces_;
  std::vector<std::shared_ptr<Loop>> loops_;
};

}  // namespace ternion::jinja
