#include "runtime/constraint/schema_alternatives.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "kernels/status.h"

namespace ternion {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kMostReferences = 32;
// More is not compared, and so not told apart.
constexpr size_t kMostAlternatives = 32, kMostProperties = 512, kMostPairs = 1'000'000;

// Behind its references.
absl::StatusOr<SchemaNode> Resolved(const Json& root, SchemaNode node) {
  for (int i = 0; i < kMostReferences; ++i) {
    TERNION_RETURN_IF_ERROR(node.CheckSchema());
    if (!node.value().is_object() || !node.Has("$ref")) return node;
    TERNION_ASSIGN_OR_RETURN(node, SchemaReferredTo(root, node));
  }
  return node.Invalid("$ref", "refers to itself without anything in between");
}

// The values that a schema of constants allows; nothing where it is none.
std::vector<Json> ConstantsOf(const Json& schema) {
  if (!schema.is_object()) return {};
  if (schema.contains("const")) return {schema["const"]};
  if (schema.contains("enum") && schema["enum"].is_array())
    return {schema["enum"].begin(), schema["enum"].end()};
  return {};
}

bool ConstantsApart(const Json& a, const Json& b) {
  const std::vector<Json> of_a = ConstantsOf(a), of_b = ConstantsOf(b);
  return !of_a.empty() && !of_b.empty() && of_a.size() <= kMostPairs / of_b.size() &&
         std::none_of(of_a.begin(), of_a.end(), [&](const Json& value) {
           return std::find(of_b.begin(), of_b.end(), value) != of_b.end();
         });
}

bool Requires(const Json& schema, const std::string& name) {
  if (!schema.contains("required") || !schema["required"].is_array()) return false;
  const Json& names = schema["required"];
  return std::find(names.begin(), names.end(), name) != names.end();
}

// Whether both require a property whose constants are apart.
bool PropertiesApart(const Json& a, const Json& b) {
  for (const Json* schema : {&a, &b}) {
    if (!schema->contains("properties") || !(*schema)["properties"].is_object()) return false;
    if ((*schema)["properties"].size() > kMostProperties) return false;
  }
  for (const auto& [name, schema] : a["properties"].items()) {
    if (!b["properties"].contains(name) || !Requires(a, name) || !Requires(b, name)) continue;
    if (ConstantsApart(schema, b["properties"][name])) return true;
  }
  return false;
}

absl::StatusOr<uint32_t> TypesOf(const SchemaNode& node) {
  constexpr uint32_t kAny = ~0u;
  if (!node.value().is_object()) return kAny;
  for (const char* keyword : {"anyOf", "oneOf", "allOf"}) {
    if (node.Has(keyword)) return kAny;
  }
  const std::vector<Json> constants = ConstantsOf(node.value());
  if (constants.empty()) return node.Has("type") ? node.Types() : kAny;
  uint32_t types = 0;
  for (const Json& value : constants) types |= JsonTypeOf(value);
  return types;
}

}  // namespace

absl::StatusOr<SchemaNode> SchemaReferredTo(const Json& root, const SchemaNode& node) {
  const Json& given = node["$ref"];
  if (!given.is_string()) return node.Invalid("$ref", "must be a string");
  const std::string& reference = given.get_ref<const std::string&>();
  if (reference == "#") return SchemaNode(&root, "");
  if (reference.rfind("#/", 0) != 0) {
    return node.Unsupported("$ref", "is supported inside the schema alone, as \"#/$defs/name\"");
  }
  const Json* target = nullptr;
  try {
    target = &root.at(Json::json_pointer(reference.substr(1)));
  } catch (const Json::exception&) {
    return node.Invalid("$ref", absl::StrCat("names nothing in the schema: ", reference));
  }
  std::string path = reference.substr(2);
  std::replace(path.begin(), path.end(), '/', '.');
  return SchemaNode(target, std::move(path));
}

absl::Status CheckApart(const Json& root, const SchemaNode& node) {
  if (node["oneOf"].size() > kMostAlternatives) {
    return node.Unsupported(
        "oneOf", absl::StrCat("is supported with up to ", kMostAlternatives, " schemas: use anyOf"));
  }
  std::vector<SchemaNode> alternatives;
  std::vector<uint32_t> types;
  for (size_t i = 0; i < node["oneOf"].size(); ++i) {
    TERNION_ASSIGN_OR_RETURN(SchemaNode alternative, Resolved(root, node.Child("oneOf", i)));
    TERNION_ASSIGN_OR_RETURN(const uint32_t own, TypesOf(alternative));
    for (size_t j = 0; j < i; ++j) {
      if ((types[j] & own) == 0) continue;
      const Json &a = alternatives[j].value(), &b = alternative.value();
      const bool objects = a.is_object() && b.is_object() && types[j] == kObjectType && own == kObjectType;
      if (ConstantsApart(a, b) || (objects && PropertiesApart(a, b))) continue;
      return node.Unsupported(
          "oneOf", absl::StrCat("is supported where types or constants keep its schemas apart; those at ", j,
                                " and ", i, " may fit one value: use anyOf"));
    }
    alternatives.push_back(std::move(alternative));
    types.push_back(own);
  }
  return absl::OkStatus();
}

}  // namespace ternion
