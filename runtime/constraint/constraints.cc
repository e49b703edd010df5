#include "runtime/constraint/constraints.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "kernels/status.h"
#include "runtime/constraint/json_schema.h"

namespace ternion {
namespace {

constexpr size_t kMostSchemaBytes = size_t{128} << 10;

}  // namespace

absl::StatusOr<std::shared_ptr<Constraint>> Constraints::OfSchema(const nlohmann::ordered_json& schema,
                                                                  std::string* where) {
  std::string text = schema.dump();
  if (text.size() > kMostSchemaBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("has ", text.size(), " bytes; a schema may have ", kMostSchemaBytes));
  }
  return Get(absl::StrCat("schema ", text), [&] { return JsonSchemaGrammar(schema, where); });
}

absl::StatusOr<std::shared_ptr<Constraint>> Constraints::OfChoices(const std::vector<std::string>& choices) {
  return Get(absl::StrCat("choices ", nlohmann::json(choices).dump()), [&]() -> absl::StatusOr<Grammar> {
    const bool whole =
        std::none_of(choices.begin(), choices.end(), [](const std::string& s) { return s.empty(); });
    if (choices.empty() || !whole) return absl::InvalidArgumentError("must hold texts, none of them empty");
    Grammar grammar;
    const auto [begin, end] = grammar.rule(grammar.AddRule());
    grammar.AddTexts(begin, {choices.begin(), choices.end()}, end);
    TERNION_RETURN_IF_ERROR(grammar.Finish());
    return grammar;
  });
}

// Made without the lock: what is asked for twice meanwhile is made twice.
absl::StatusOr<std::shared_ptr<Constraint>> Constraints::Get(std::string key, Make make) {
  if (std::shared_ptr<Constraint> kept = Find(key)) return kept;
  TERNION_ASSIGN_OR_RETURN(Grammar grammar, make());
  std::call_once(made_vocabulary_,
                 [this] { vocabulary_ = std::make_shared<const VocabularyTrie>(*tokenizer_); });
  auto constraint = std::make_shared<Constraint>(std::move(grammar), vocabulary_);
  const std::lock_guard lock(mutex_);
  kept_.emplace_front(std::move(key), constraint);
  if (kept_.size() > kKept) kept_.pop_back();
  return constraint;
}

std::shared_ptr<Constraint> Constraints::Find(const std::string& key) {
  const std::lock_guard lock(mutex_);
  const auto found =
      std::find_if(kept_.begin(), kept_.end(), [&](const auto& kept) { return kept.first == key; });
  if (found == kept_.end()) return nullptr;
  kept_.splice(kept_.begin(), kept_, found);
  return found->second;
}

}  // namespace ternion
