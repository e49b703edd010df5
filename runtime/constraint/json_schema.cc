#include "runtime/constraint/json_schema.h"

#include <algorithm>
#include <deque>
#include <map>
#include <set>
#include <utility>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "kernels/check.h"
#include "kernels/status.h"
#include "runtime/constraint/json_rules.h"
#include "runtime/constraint/schema_alternatives.h"
#include "runtime/constraint/schema_node.h"

namespace ternion {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kMostProperties = 512;

// Each schema is a rule; those that a schema refers to wait in a queue, so that depth costs no stack.
class Compiler {
 public:
  explicit Compiler(const Json& root) : root_(&root) {}

  absl::StatusOr<Grammar> Compile() {
    RuleOf({root_, ""});
    while (!open_.empty()) {
      const auto [node, rule] = std::move(open_.front());
      open_.pop_front();
      TERNION_RETURN_IF_ERROR(Write(node, rule));
      if (grammar_.too_large()) break;
    }
    TERNION_RETURN_IF_ERROR(grammar_.Finish());
    return std::move(grammar_);
  }

 private:
  int32_t RuleOf(const SchemaNode& node) {
    const auto [place, is_new] = rules_.try_emplace(&node.value(), 0);
    if (is_new) {
      place->second = grammar_.AddRule();
      open_.emplace_back(node, place->second);
    }
    return place->second;
  }

  absl::Status Write(const SchemaNode& node, int32_t rule);
  absl::Status WriteReference(const SchemaNode& node, int32_t begin, int32_t end);
  absl::Status WriteAlternatives(const SchemaNode& node, const char* keyword, int32_t begin, int32_t end);
  absl::Status WriteConstants(const SchemaNode& node, int32_t begin, int32_t end);
  absl::Status WriteTypes(const SchemaNode& node, int32_t begin, int32_t end);
  absl::Status WriteInteger(const SchemaNode& node, int32_t begin, int32_t end);
  absl::Status WriteString(const SchemaNode& node, int32_t begin, int32_t end);
  absl::Status WriteArray(const SchemaNode& node, int32_t begin, int32_t end);
  absl::Status WriteObject(const SchemaNode& node, int32_t begin, int32_t end);
  absl::StatusOr<std::set<std::string>> RequiredOf(const SchemaNode& node) const;
  // The rule of what an array's item is; nothing where there is none.
  std::optional<int32_t> ItemRule(const SchemaNode& node, size_t index);
  // Of members with other names.
  std::optional<int32_t> OtherRule(const SchemaNode& node);

  const Json* root_;
  Grammar grammar_;
  JsonRules json_{&grammar_};
  std::map<const Json*, int32_t> rules_;
  std::deque<std::pair<SchemaNode, int32_t>> open_;
};

absl::Status Compiler::Write(const SchemaNode& node, int32_t rule) {
  TERNION_RETURN_IF_ERROR(node.CheckSchema());
  const auto [begin, end] = grammar_.rule(rule);
  if (node.value().is_boolean()) {
    if (node.value().get<bool>()) grammar_.AddCall(begin, json_.Value(), end);
    return absl::OkStatus();
  }
  if (node.Has("$ref")) return WriteReference(node, begin, end);
  for (const char* keyword : {"anyOf", "oneOf", "allOf"}) {
    if (node.Has(keyword)) return WriteAlternatives(node, keyword, begin, end);
  }
  if (node.Has("enum") || node.Has("const")) return WriteConstants(node, begin, end);
  return WriteTypes(node, begin, end);
}

absl::Status Compiler::WriteReference(const SchemaNode& node, int32_t begin, int32_t end) {
  TERNION_RETURN_IF_ERROR(node.CheckKeywords({"$ref"}, " beside $ref"));
  TERNION_ASSIGN_OR_RETURN(const SchemaNode target, SchemaReferredTo(*root_, node));
  grammar_.AddCall(begin, RuleOf(target), end);
  return absl::OkStatus();
}

absl::Status Compiler::WriteAlternatives(const SchemaNode& node, const char* keyword, int32_t begin,
                                         int32_t end) {
  TERNION_RETURN_IF_ERROR(node.CheckKeywords({keyword}, absl::StrCat(" beside ", keyword)));
  const Json& list = node[keyword];
  if (!list.is_array() || list.empty()) return node.Invalid(keyword, "must be an array of schemas");
  if (keyword == std::string_view("allOf") && list.size() > 1) {
    return node.Unsupported(keyword, "is supported with one schema alone");
  }
  if (keyword == std::string_view("oneOf")) TERNION_RETURN_IF_ERROR(CheckApart(*root_, node));
  std::set<int32_t> called;
  for (size_t i = 0; i < list.size(); ++i) called.insert(RuleOf(node.Child(keyword, i)));
  for (const int32_t rule : called) grammar_.AddCall(begin, rule, end);
  return absl::OkStatus();
}

absl::Status Compiler::WriteConstants(const SchemaNode& node, int32_t begin, int32_t end) {
  const char* const keyword = node.Has("enum") ? "enum" : "const";
  TERNION_RETURN_IF_ERROR(node.CheckKeywords({keyword, "type"}, absl::StrCat(" beside ", keyword)));
  TERNION_ASSIGN_OR_RETURN(const uint32_t types, node.Types());
  const Json& given = node[keyword];
  if (node.Has("enum") && !given.is_array()) return node.Invalid(keyword, "must be an array of values");
  std::vector<std::string> spelled;
  for (const Json& value : node.Has("enum") ? given : Json::array({given})) {
    if ((JsonTypeOf(value) & types) != 0) spelled.push_back(value.dump());
  }
  grammar_.AddTexts(begin, {spelled.begin(), spelled.end()}, end);
  return absl::OkStatus();
}

absl::Status Compiler::WriteTypes(const SchemaNode& node, int32_t begin, int32_t end) {
  TERNION_RETURN_IF_ERROR(node.CheckKeywords(
      {"type", "properties", "required", "additionalProperties", "items", "prefixItems", "minItems",
       "maxItems", "minLength", "maxLength", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"},
      ""));
  TERNION_ASSIGN_OR_RETURN(const uint32_t types, node.Types());
  if ((types & kNullType) != 0) grammar_.AddTexts(begin, {"null"}, end);
  if ((types & kBooleanType) != 0) grammar_.AddTexts(begin, {"true", "false"}, end);
  if ((types & kNumberType) != 0) {
    for (const char* bound : {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}) {
      if (node.Has(bound)) return node.Unsupported(bound, "is supported where the type is integer");
    }
    grammar_.AddCall(begin, json_.Number(), end);
  } else if ((types & kIntegerType) != 0) {
    TERNION_RETURN_IF_ERROR(WriteInteger(node, begin, end));
  }
  if ((types & kStringType) != 0) TERNION_RETURN_IF_ERROR(WriteString(node, begin, end));
  if ((types & kArrayType) != 0) TERNION_RETURN_IF_ERROR(WriteArray(node, begin, end));
  if ((types & kObjectType) != 0) TERNION_RETURN_IF_ERROR(WriteObject(node, begin, end));
  return absl::OkStatus();
}

absl::Status Compiler::WriteInteger(const SchemaNode& node, int32_t begin, int32_t end) {
  int64_t low = -JsonRules::kLargestInteger, high = JsonRules::kLargestInteger;
  const auto narrow = [&](const char* key, int64_t add, int64_t& bound, bool raises) -> absl::Status {
    if (!node.Has(key)) return absl::OkStatus();
    TERNION_ASSIGN_OR_RETURN(const int64_t value, node.Bound(key));
    bound = raises ? std::max(bound, value + add) : std::min(bound, value + add);
    return absl::OkStatus();
  };
  TERNION_RETURN_IF_ERROR(narrow("minimum", 0, low, true));
  TERNION_RETURN_IF_ERROR(narrow("exclusiveMinimum", 1, low, true));
  TERNION_RETURN_IF_ERROR(narrow("maximum", 0, high, false));
  TERNION_RETURN_IF_ERROR(narrow("exclusiveMaximum", -1, high, false));
  if (low <= high) json_.AddInteger(begin, low, high, end);
  return absl::OkStatus();
}

absl::Status Compiler::WriteString(const SchemaNode& node, int32_t begin, int32_t end) {
  TERNION_ASSIGN_OR_RETURN(const std::optional<int64_t> least, node.Count("minLength"));
  TERNION_ASSIGN_OR_RETURN(const std::optional<int64_t> most, node.Count("maxLength"));
  if (!least.has_value() && !most.has_value()) {
    grammar_.AddCall(begin, json_.String(), end);
  } else {
    json_.AddString(begin, least.value_or(0), most, end);
  }
  return absl::OkStatus();
}

std::optional<int32_t> Compiler::ItemRule(const SchemaNode& node, size_t index) {
  if (node.Has("prefixItems") && index < node["prefixItems"].size()) {
    return RuleOf(node.Child("prefixItems", index));
  }
  if (!node.Has("items")) return json_.Value();
  return node["items"] == false ? std::nullopt : std::optional(RuleOf(node.Child("items")));
}

absl::Status Compiler::WriteArray(const SchemaNode& node, int32_t begin, int32_t end) {
  if (node.Has("prefixItems") && !node["prefixItems"].is_array()) {
    return node.Invalid("prefixItems", "must be an array of schemas");
  }
  TERNION_ASSIGN_OR_RETURN(const std::optional<int64_t> given_least, node.Count("minItems"));
  TERNION_ASSIGN_OR_RETURN(const std::optional<int64_t> most, node.Count("maxItems"));
  const int64_t least = given_least.value_or(0);
  const int64_t prefix = node.Has("prefixItems") ? static_cast<int64_t>(node["prefixItems"].size()) : 0;
  const int64_t counted = std::max({least, prefix, int64_t{1}});  // of which each has a place of its own
  const int32_t last = grammar_.AddNode();
  grammar_.AddBytes(last, ']', ']', end);
  int32_t item = grammar_.AddNode();
  json_.AddSpace(grammar_.AddText(begin, "["), item);
  if (least == 0) grammar_.AddBytes(item, ']', ']', end);
  std::vector<int32_t> items, behinds;  // that are alike, but for how many may follow
  for (int64_t i = 0; i != most && !grammar_.too_large(); ++i) {
    const std::optional<int32_t> rule = ItemRule(node, static_cast<size_t>(i));
    if (!rule.has_value()) break;
    const int32_t behind = grammar_.AddNode();
    grammar_.AddCall(item, *rule, behind);
    if (i + 1 >= least) json_.AddSpace(behind, last);
    if (i >= counted) {
      items.push_back(item);
      behinds.push_back(behind);
    }
    const bool repeats = !most.has_value() && i + 1 > counted;
    if (!repeats) item = grammar_.AddNode();
    json_.AddComma(behind, item);
    if (repeats) break;
  }
  items.push_back(item);
  grammar_.AddRun(std::move(items));
  grammar_.AddRun(std::move(behinds));
  return absl::OkStatus();
}

absl::StatusOr<std::set<std::string>> Compiler::RequiredOf(const SchemaNode& node) const {
  std::set<std::string> names;
  if (!node.Has("required")) return names;
  const Json& list = node["required"];
  if (!list.is_array()) return node.Invalid("required", "must be an array of names");
  if (list.size() > kMostProperties) {
    return node.Invalid("required", absl::StrCat("may have at most ", kMostProperties, " names"));
  }
  for (const Json& name : list) {
    if (!name.is_string()) return node.Invalid("required", "must be an array of names");
    if (!node.Has("properties") || !node["properties"].contains(name.get_ref<const std::string&>())) {
      return node.Unsupported("required", absl::StrCat("is supported for names in properties alone; ",
                                                       name.dump(), " is not there"));
    }
    names.insert(name.get<std::string>());
  }
  return names;
}

std::optional<int32_t> Compiler::OtherRule(const SchemaNode& node) {
  if (!node.Has("additionalProperties")) {
    return node.Has("properties") ? std::nullopt : std::optional(json_.Value());
  }
  if (node["additionalProperties"] == false) return std::nullopt;
  return RuleOf(node.Child("additionalProperties"));
}

// Along the properties: at each either it is written, or left out where it may be.
absl::Status Compiler::WriteObject(const SchemaNode& node, int32_t begin, int32_t end) {
  if (node.Has("properties") && !node["properties"].is_object()) {
    return node.Invalid("properties", "must be an object of schemas");
  }
  std::vector<std::string> names;
  if (node.Has("properties")) {
    for (const auto& [name, schema] : node["properties"].items()) names.push_back(name);
  }
  if (names.size() > kMostProperties) {
    return node.Invalid("properties", absl::StrCat("may have at most ", kMostProperties, " members"));
  }
  TERNION_ASSIGN_OR_RETURN(const std::set<std::string> required, RequiredOf(node));
  const int32_t first = grammar_.AddNode(), last = grammar_.AddNode();
  json_.AddSpace(grammar_.AddText(begin, "{"), first);
  if (required.empty()) grammar_.AddBytes(first, '}', '}', end);
  grammar_.AddBytes(last, '}', '}', end);
  int32_t next = grammar_.AddNode();
  grammar_.AddJump(first, next);
  size_t missing = required.size();
  const SchemaNode properties = names.empty() ? node : node.Child("properties");
  for (const std::string& name : names) {
    const int32_t here = std::exchange(next, grammar_.AddNode()), behind = grammar_.AddNode();
    const int32_t value = json_.AddColon(grammar_.AddText(here, Json(name).dump()));
    grammar_.AddCall(value, RuleOf(properties.Child(name)), behind);
    if (required.count(name) > 0) {
      --missing;
    } else {
      grammar_.AddJump(here, next);
    }
    json_.AddComma(behind, next);
    if (missing == 0) json_.AddSpace(behind, last);
  }
  if (const std::optional<int32_t> other = OtherRule(node)) {
    const int32_t name = grammar_.AddNode(), behind = grammar_.AddNode();
    json_.AddOtherString(next, names, name);
    grammar_.AddCall(json_.AddColon(name), *other, behind);
    json_.AddComma(behind, next);
    json_.AddSpace(behind, last);
  }
  return absl::OkStatus();
}

}  // namespace

Grammar JsonObjectGrammar() {
  const Json schema = {{"type", "object"}};
  std::string where;
  absl::StatusOr<Grammar> grammar = JsonSchemaGrammar(schema, &where);
  CHECK(grammar.ok(), "any object has a grammar");
  return *std::move(grammar);
}

absl::StatusOr<Grammar> JsonSchemaGrammar(const Json& schema, std::string* where) {
  absl::StatusOr<Grammar> grammar = Compiler(schema).Compile();
  if (!grammar.ok())
    *where = std::string(grammar.status().GetPayload(SchemaNode::kPathPayload).value_or(absl::Cord()));
  return grammar;
}

}  // namespace ternion
