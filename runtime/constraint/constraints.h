#pragma once

#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"
#include "runtime/constraint/constraint.h"
#include "runtime/text/tokenizer.h"

namespace ternion {

// The constraints of one tokenizer's texts. Those made last are kept, so that requests that ask for the same share what was
// found out about it. Thread-safe.
class Constraints {
 public:
  static constexpr size_t kKept = 8;

  // `tokenizer` outlives it and every constraint.
  explicit Constraints(const Tokenizer& tokenizer) : tokenizer_(&tokenizer) {}

  // See JsonSchemaGrammar.
  absl::StatusOr<std::shared_ptr<Constraint>> OfSchema(const nlohmann::ordered_json& schema,
                                                       std::string* where);
  // One of these texts, as they are. kInvalidArgument: there is none, or an empty one.
  absl::StatusOr<std::shared_ptr<Constraint>> OfChoices(const std::vector<std::string>& choices);

 private:
  using Make = absl::FunctionRef<absl::StatusOr<Grammar>()>;
  absl::StatusOr<std::shared_ptr<Constraint>> Get(std::string key, Make make);
  std::shared_ptr<Constraint> Find(const std::string& key);

  const Tokenizer* tokenizer_;
  std::once_flag made_vocabulary_;
  std::shared_ptr<const VocabularyTrie> vocabulary_;
  std::mutex mutex_;
  std::list<std::pair<std::string, std::shared_ptr<Constraint>>> kept_;  // the last used first
};

}  // namespace ternion
