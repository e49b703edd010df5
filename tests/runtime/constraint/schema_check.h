#pragma once

#include <algorithm>
#include <cstdint>
#include <string>

#include "nlohmann/json.hpp"
#include "runtime/text/utf8.h"

namespace ternion {

// Whether a value fits a schema, as JSON Schema says: the reference for grammars made of schemas. Of `root`, in which $ref
// looks, it knows the keywords that grammars know.
class SchemaCheck {
 public:
  using Json = nlohmann::ordered_json;
  explicit SchemaCheck(const Json& root) : root_(root) {}

  bool Fits(const Json& value) const { return Fits(value, root_); }

 private:
  bool Fits(const Json& value, const Json& schema) const {
    if (schema.is_boolean()) return schema.get<bool>();
    if (schema.contains("$ref")) {
      const std::string reference = schema["$ref"];
      return Fits(value, reference == "#" ? root_ : root_.at(Json::json_pointer(reference.substr(1))));
    }
    if (schema.contains("type") && !HasType(value, schema["type"])) return false;
    if (schema.contains("const") && value != schema["const"]) return false;
    if (schema.contains("enum") && std::count(schema["enum"].begin(), schema["enum"].end(), value) == 0)
      return false;
    if (schema.contains("anyOf") && Matches(value, schema["anyOf"]) == 0) return false;
    if (schema.contains("oneOf") && Matches(value, schema["oneOf"]) != 1) return false;
    if (schema.contains("allOf") && Matches(value, schema["allOf"]) != schema["allOf"].size()) return false;
    if (value.is_object()) return FitsObject(value, schema);
    if (value.is_array()) return FitsArray(value, schema);
    if (value.is_string()) {
      return Within(CountCharacters(value.get_ref<const std::string&>()), schema, "minLength", "maxLength");
    }
    if (!value.is_number()) return true;
    const auto number = value.get<double>();
    return Within(number, schema, "minimum", "maximum") &&
           (!schema.contains("exclusiveMinimum") || number > schema["exclusiveMinimum"]) &&
           (!schema.contains("exclusiveMaximum") || number < schema["exclusiveMaximum"]);
  }

  size_t Matches(const Json& value, const Json& schemas) const {
    return static_cast<size_t>(std::count_if(schemas.begin(), schemas.end(),
                                             [&](const Json& schema) { return Fits(value, schema); }));
  }

  static bool HasType(const Json& value, const Json& type) {
    if (type.is_array()) {
      return std::any_of(type.begin(), type.end(), [&](const Json& one) { return HasType(value, one); });
    }
    const std::string name = type;
    if (name == "integer") return value.is_number_integer();
    if (name == "number") return value.is_number();
    return name == value.type_name();
  }

  template <typename Number>
  static bool Within(Number x, const Json& schema, const char* least, const char* most) {
    return (!schema.contains(least) || x >= schema[least].get<Number>()) &&
           (!schema.contains(most) || x <= schema[most].get<Number>());
  }

  bool FitsObject(const Json& value, const Json& schema) const {
    for (const Json& name : schema.value("required", Json::array())) {
      if (!value.contains(name.get<std::string>())) return false;
    }
    const Json properties = schema.value("properties", Json::object());
    return std::all_of(value.items().begin(), value.items().end(), [&](const auto& member) {
      if (properties.contains(member.key())) return Fits(member.value(), properties[member.key()]);
      return !schema.contains("additionalProperties") || Fits(member.value(), schema["additionalProperties"]);
    });
  }

  bool FitsArray(const Json& value, const Json& schema) const {
    const Json prefix = schema.value("prefixItems", Json::array());
    for (size_t i = 0; i < value.size(); ++i) {
      if (i < prefix.size() && !Fits(value[i], prefix[i])) return false;
      if (i >= prefix.size() && schema.contains("items") && !Fits(value[i], schema["items"])) return false;
    }
    return Within(value.size(), schema, "minItems", "maxItems");
  }

  const Json& root_;
};

}  // namespace ternion
