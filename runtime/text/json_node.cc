#include "runtime/text/json_node.h"

#include <fstream>
#include <iterator>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "kernels/status.h"

namespace ternion {
namespace {

using nlohmann::json;

constexpr int kMaxDepth = 64;

// Looks at the parser's events for what the parser itself lets pass: any depth, and fields named twice.
class Guard {
 public:
  // False: skip the value.
  bool Admit(int depth, json::parse_event_t event, const json& value) {
    if (depth > kMaxDepth) fault_ = absl::StrCat("nests deeper than ", kMaxDepth, " levels");
    if (!fault_.empty()) return false;
    if (event == json::parse_event_t::object_start) fields_.emplace_back();
    if (event == json::parse_event_t::object_end) fields_.pop_back();
    if (event == json::parse_event_t::key &&
        !fields_.back().insert(value.get_ref<const std::string&>()).second) {
      fault_ = absl::StrCat("names \"", value.get_ref<const std::string&>(), "\" twice in one object");
    }
    return true;
  }
  const std::string& fault() const { return fault_; }

 private:
  std::vector<absl::flat_hash_set<std::string>> fields_;  // one set for each open object
  std::string fault_;
};

absl::StatusOr<json> ParseJson(const std::string& text, const std::string& where) {
  Guard guard;
  const auto admit = [&guard](int depth, json::parse_event_t event, const json& value) {
    return guard.Admit(depth, event, value);
  };
  try {
    json parsed = json::parse(text, admit);
    if (guard.fault().empty()) return parsed;
    return absl::InvalidArgumentError(absl::StrCat(where, ": ", guard.fault()));
  } catch (const json::parse_error& error) {
    return absl::InvalidArgumentError(
        absl::StrCat(where, ": not valid JSON at byte ", error.byte, " of ", text.size()));
  } catch (const json::exception& error) {
    return absl::InvalidArgumentError(absl::StrCat(where, ": not valid JSON: ", error.what()));
  }
}

}  // namespace

absl::StatusOr<json> ReadJsonFile(const std::filesystem::path& file) {
  std::error_code error;
  if (!std::filesystem::exists(file, error)) {
    return absl::NotFoundError(absl::StrCat(file.string(), ": no such file"));
  }
  if (!std::filesystem::is_regular_file(file, error)) {
    return absl::InvalidArgumentError(absl::StrCat(file.string(), ": not a regular file"));
  }
  std::ifstream stream(file, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
  if (!stream) return absl::InvalidArgumentError(absl::StrCat(file.string(), ": cannot be read"));
  return ParseJson(text, file.string());
}

bool JsonNode::Has(std::string_view field) const {
  if (!value_->is_object()) return false;
  const auto found = value_->find(field);
  return found != value_->end() && !found->is_null();
}

absl::StatusOr<JsonNode> JsonNode::Field(std::string_view field) const {
  TERNION_RETURN_IF_ERROR(ExpectObject());
  const auto found = value_->find(field);
  if (found == value_->end()) return Invalid(absl::StrCat("the field \"", ToAbsl(field), "\" is missing"));
  return JsonNode(*found, file_, absl::StrCat(path_, path_.empty() ? "" : ".", ToAbsl(field)));
}

JsonNode JsonNode::Item(size_t i) const {
  return JsonNode(value_->at(i), file_, absl::StrCat(path_, "[", i, "]"));
}

std::string JsonNode::where() const { return path_.empty() ? file_ : absl::StrCat(file_, ": ", path_); }

absl::Status JsonNode::ExpectObject() const {
  return value_->is_object() ? absl::OkStatus() : Invalid("is no object");
}

absl::Status JsonNode::ExpectArray() const {
  return value_->is_array() ? absl::OkStatus() : Invalid("is no array");
}

absl::StatusOr<std::string> JsonNode::String(std::string_view field) const {
  TERNION_ASSIGN_OR_RETURN(const JsonNode node, Field(field));
  if (!node.value().is_string()) return node.Invalid("is no string");
  return node.value().get_ref<const std::string&>();
}

absl::StatusOr<bool> JsonNode::Bool(std::string_view field) const {
  TERNION_ASSIGN_OR_RETURN(const JsonNode node, Field(field));
  if (!node.value().is_boolean()) return node.Invalid("is neither true nor false");
  return node.value().get<bool>();
}

absl::StatusOr<bool> JsonNode::BoolOr(std::string_view field, bool absent) const {
  TERNION_RETURN_IF_ERROR(ExpectObject());
  return Has(field) ? Bool(field) : absent;
}

absl::StatusOr<int64_t> JsonNode::Int(std::string_view field) const {
  TERNION_ASSIGN_OR_RETURN(const JsonNode node, Field(field));
  if (!node.value().is_number_integer()) return node.Invalid("is no integer");
  return node.value().get<int64_t>();
}

absl::Status JsonNode::Invalid(std::string_view message) const {
  return absl::InvalidArgumentError(absl::StrCat(where(), ": ", ToAbsl(message)));
}

absl::Status JsonNode::Unimplemented(std::string_view message) const {
  return absl::UnimplementedError(absl::StrCat(where(), ": ", ToAbsl(message)));
}

absl::Status JsonNode::Locate(const absl::Status& error) const {
  return {error.code(), absl::StrCat(where(), ": ", error.message())};
}

}  // namespace ternion
