#include "runtime/constraint/schema_node.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "kernels/status.h"
#include "runtime/constraint/json_rules.h"

namespace ternion {
namespace {

constexpr int64_t kMostCount = 10'000;
constexpr std::string_view kAnnotations[] = {"title",      "description", "default",   "examples",
                                             "deprecated", "readOnly",    "writeOnly", "$schema",
                                             "$id",        "$comment",    "$defs",     "definitions"};
constexpr std::pair<std::string_view, uint32_t> kTypes[] = {
    {"null", kNullType},       {"boolean", kBooleanType},
    {"integer", kIntegerType}, {"number", kNumberType | kIntegerType},
    {"string", kStringType},   {"array", kArrayType},
    {"object", kObjectType}};

std::optional<uint32_t> TypeNamed(const nlohmann::ordered_json& name) {
  for (const auto& [known, bits] : kTypes) {
    if (name == known) return bits;
  }
  return std::nullopt;
}

std::string Joined(const std::string& path, const std::string& key) {
  return path.empty() ? key : key.empty() ? path : absl::StrCat(path, ".", key);
}

}  // namespace

uint32_t JsonTypeOf(const nlohmann::ordered_json& value) {
  if (value.is_null()) return kNullType;
  if (value.is_boolean()) return kBooleanType;
  if (value.is_string()) return kStringType;
  if (value.is_array()) return kArrayType;
  if (value.is_object()) return kObjectType;
  return value.is_number_integer() || std::trunc(value.get<double>()) == value.get<double>() ? kIntegerType
                                                                                             : kNumberType;
}

SchemaNode SchemaNode::Child(const std::string& key) const { return {&(*value_)[key], Joined(path_, key)}; }
SchemaNode SchemaNode::Child(const std::string& key, size_t index) const {
  return {&(*value_)[key][index], absl::StrCat(Joined(path_, key), ".", index)};
}

absl::Status SchemaNode::CheckSchema() const {
  if (value_->is_boolean() || value_->is_object()) return absl::OkStatus();
  return Invalid("", "must be a schema: an object, true or false");
}

absl::Status SchemaNode::CheckKeywords(std::initializer_list<std::string_view> allowed,
                                       std::string_view beside) const {
  for (const auto& [key, value] : value_->items()) {
    const auto is_key = [&k = key](std::string_view known) { return known == k; };
    if (std::any_of(allowed.begin(), allowed.end(), is_key)) continue;
    if (std::any_of(std::begin(kAnnotations), std::end(kAnnotations), is_key)) continue;
    return Unsupported(key, absl::StrCat("is not supported", ToAbsl(beside)));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::optional<int64_t>> SchemaNode::Count(const char* key) const {
  if (!Has(key)) return std::nullopt;
  const Json& value = (*this)[key];
  if (!value.is_number_unsigned() || value.get<uint64_t>() > uint64_t{kMostCount}) {
    return Invalid(key, absl::StrCat("must be an integer from 0 to ", kMostCount));
  }
  return value.get<int64_t>();
}

absl::StatusOr<int64_t> SchemaNode::Bound(const char* key) const {
  constexpr int64_t kMost = JsonRules::kLargestInteger;
  const Json& value = (*this)[key];
  if (!value.is_number() || JsonTypeOf(value) != kIntegerType) return Invalid(key, "must be an integer");
  const double number = value.get<double>();
  if (number > static_cast<double>(kMost)) return kMost;
  if (number < -static_cast<double>(kMost)) return -kMost;
  return value.is_number_integer() ? value.get<int64_t>() : static_cast<int64_t>(number);
}

absl::StatusOr<uint32_t> SchemaNode::Types() const {
  if (Has("type")) {
    const Json& type = (*this)["type"];
    uint32_t types = 0;
    for (const Json& name : type.is_array() ? type : Json::array({type})) {
      const std::optional<uint32_t> bits = TypeNamed(name);
      if (!bits.has_value()) {
        return Invalid("type",
                       "must be null, boolean, integer, number, string, array, object, or an array of these");
      }
      types |= *bits;
    }
    if (types == 0) return Invalid("type", "must name a type");
    return types;
  }
  const auto any = [this](std::initializer_list<const char*> keys) {
    return std::any_of(keys.begin(), keys.end(), [this](const char* key) { return Has(key); });
  };
  uint32_t types = 0;
  if (any({"properties", "required", "additionalProperties"})) types |= kObjectType;
  if (any({"items", "prefixItems", "minItems", "maxItems"})) types |= kArrayType;
  if (any({"minLength", "maxLength"})) types |= kStringType;
  if (any({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"})) types |= kIntegerType;
  constexpr uint32_t kAll = 127;
  return types == 0 ? kAll : types;
}

absl::Status SchemaNode::Fault(absl::StatusCode code, const std::string& key,
                               std::string_view message) const {
  const std::string path = Joined(path_, key);
  absl::Status status(code, ToAbsl(message));
  status.SetPayload(kPathPayload, absl::Cord(path));
  return status;
}

absl::Status SchemaNode::Invalid(const std::string& key, std::string_view message) const {
  return Fault(absl::StatusCode::kInvalidArgument, key, message);
}

absl::Status SchemaNode::Unsupported(const std::string& key, std::string_view message) const {
  return Fault(absl::StatusCode::kUnimplemented, key, message);
}

}  // namespace ternion
