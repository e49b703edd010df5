#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace ternion {

// Parses a JSON text. Refused with `code`, `where` and the place in the text: bad syntax, bad UTF-8, nesting
// deeper than 64, a key that occurs twice in one object, and values that would take more than about `most_bytes` of memory,
// which can be thirty times their text.
absl::StatusOr<nlohmann::json> ParseJson(std::string_view text, std::string_view where, absl::StatusCode code,
                                         size_t most_bytes = SIZE_MAX);

// What a file says, for an error's one line: bytes that are not printable ASCII escaped, and cut where it is long.
std::string Shown(std::string_view text);

// Typed access to the fields of a JSON object that a person or a program wrote. A field that is null counts
// as absent. Errors are kInvalidArgument and read "WHERE: FIELD is VALUE; it must be ...".
class JsonFields {
 public:
  // What errors call a field that had another name where its value comes from.
  using Names = std::map<std::string, std::string, std::less<>>;

  // kInvalidArgument when `value` is not an object. `value` and `names` must outlive the result.
  static absl::StatusOr<JsonFields> Of(const nlohmann::json& value, std::string_view where,
                                       const Names* names = nullptr);

  const std::string& where() const { return where_; }
  // The field's value, or null when it is absent.
  const nlohmann::json* Find(std::string_view field) const;
  bool Has(std::string_view field) const { return Find(field) != nullptr; }

  absl::StatusOr<int64_t> Int(std::string_view field, int64_t least, int64_t most) const;
  // A number in (above, most].
  absl::StatusOr<double> Number(std::string_view field, double above, double most) const;
  absl::StatusOr<bool> BoolOr(std::string_view field, bool fallback) const;
  // One of `choices`; an absent field is an error.
  absl::StatusOr<std::string> Choice(std::string_view field,
                                     std::initializer_list<std::string_view> choices) const;
  // One integer or a list of them; empty when absent.
  absl::StatusOr<std::vector<int32_t>> Ids(std::string_view field, int64_t most) const;
  // A field that holds an object.
  absl::StatusOr<JsonFields> Object(std::string_view field) const;

  // "WHERE: FIELD is VALUE; RIGHT" (or "... is missing; RIGHT") for a field that is wrong in another way.
  absl::Status Wrong(std::string_view field, std::string_view right) const;
  // The same for what is well-formed but not supported: kUnimplemented.
  absl::Status Unsupported(std::string_view field, std::string_view right) const;

 private:
  JsonFields(const nlohmann::json& value, std::string_view where, const Names* names = nullptr)
      : value_(&value), where_(where), names_(names) {}
  std::string_view NameOf(std::string_view field) const;
  std::string Describe(std::string_view field, std::string_view right) const;

  const nlohmann::json* value_;
  std::string where_;
  const Names* names_;  // may be null
};

}  // namespace ternion
