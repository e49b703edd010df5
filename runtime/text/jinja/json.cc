#include "runtime/text/jinja/json.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "kernels/status.h"
#include "runtime/text/jinja/characters.h"
#include "runtime/text/jinja/print.h"
#include "runtime/text/utf8.h"

namespace ternion::jinja {
namespace {

void AppendUnit(uint32_t unit, std::string& out) {
  absl::StrAppend(&out, "\\u", absl::Hex(unit, absl::kZeroPad4));
}

// In UTF-16's units.
void AppendEscaped(uint32_t c, std::string& out) {
  if (c >= 0x10000) AppendUnit(0xD800 + ((c - 0x10000) >> 10), out);
  AppendUnit(c < 0x10000 ? c : 0xDC00 + ((c - 0x10000) & 0x3FF), out);
}

std::string NumberJson(double number) {
  if (std::isnan(number)) return "NaN";
  if (std::isinf(number)) return number < 0 ? "-Infinity" : "Infinity";
  return FloatRepr(number);
}

// Of what is neither text nor a container; nothing for the rest.
std::optional<std::string> ScalarJson(const Value& value) {
  if (value.is_none()) return "null";
  if (value.is_bool()) return value.is_true() ? "true" : "false";
  if (value.is_int()) return absl::StrCat(*value.AsInt());
  if (value.is_float()) return NumberJson(*value.AsNumber());
  return std::nullopt;
}

class Writer {
 public:
  explicit Writer(const JsonStyle& style) : style_(style) {}

  absl::Status Write(const Value& value) {
    if (const auto scalar = ScalarJson(value)) return Add(*scalar);
    if (value.text() != nullptr) return WriteText(value.text()->bytes());
    if (value.dict() != nullptr) return WriteDict(*value.dict());
    const Sequence* sequence = value.sequence();
    const bool array =
        sequence != nullptr && sequence->kind != Sequence::Kind::kRange && !sequence->is_view();
    return array ? WriteArray(sequence->items) : Refuse(value, "");
  }

  std::string Take() { return std::move(out_); }

 private:
  absl::Status Add(std::string_view text) {
    out_ += text;
    return absl::OkStatus();
  }

  static absl::Status Refuse(const Value& value, std::string_view role) {
    return absl::InvalidArgumentError(
        absl::StrCat("JSON has no form for ", ToAbsl(role), "a value of type ", ToAbsl(value.type_name())));
  }

  void NewLine() {
    if (!style_.indent.has_value()) return;
    out_ += '\n';
    for (int i = 0; i < level_; ++i) out_ += *style_.indent;
  }

  absl::Status WriteText(std::string_view text) {
    out_ += '"';
    for (const std::string_view character : Characters(text)) WriteCharacter(character);
    out_ += '"';
    return absl::OkStatus();
  }

  void WriteCharacter(std::string_view character) {
    static constexpr std::string_view kShort = "\"\"\\\\\nn\rr\tt\bb\ff";  // each with the letter it becomes
    const uint32_t c = FirstCodePoint(character);
    for (size_t i = 0; i < kShort.size(); i += 2) {
      if (character == kShort.substr(i, 1)) {
        out_ += '\\';
        out_ += kShort[i + 1];
        return;
      }
    }
    c < 0x20 || (style_.ascii_only && c > 0x7E) ? AppendEscaped(c, out_)
                                                : static_cast<void>(out_ += character);
  }

  absl::Status WriteArray(const std::vector<Value>& items) {
    if (items.empty()) return Add("[]");
    out_ += '[';
    ++level_;
    for (size_t i = 0; i < items.size(); ++i) {
      if (i > 0) out_ += style_.item_separator;
      NewLine();
      TERNION_RETURN_IF_ERROR(Write(items[i]));
    }
    --level_;
    NewLine();
    return Add("]");
  }

  absl::Status WriteDict(const Dict& dict) {
    if (dict.size() == 0) return Add("{}");
    TERNION_ASSIGN_OR_RETURN(const auto fields, FieldsOf(dict));
    out_ += '{';
    ++level_;
    for (size_t i = 0; i < fields.size(); ++i) {
      if (i > 0) out_ += style_.item_separator;
      NewLine();
      TERNION_RETURN_IF_ERROR(WriteText(fields[i].first));
      out_ += style_.key_separator;
      TERNION_RETURN_IF_ERROR(Write(*fields[i].second));
    }
    --level_;
    NewLine();
    return Add("}");
  }

  using Fields = std::vector<std::pair<std::string, const Value*>>;
  absl::StatusOr<Fields> FieldsOf(const Dict& dict) {
    Fields fields;
    for (const Dict::Entry& entry : dict.entries()) {
      TERNION_ASSIGN_OR_RETURN(std::string name, NameOf(entry.key));
      fields.emplace_back(std::move(name), &entry.value);
    }
    const auto earlier = [](const auto& a, const auto& b) { return a.first < b.first; };
    if (style_.sort_keys) std::stable_sort(fields.begin(), fields.end(), earlier);
    return fields;
  }

  static absl::StatusOr<std::string> NameOf(const Value& key) {
    if (key.text() != nullptr) return key.text()->bytes();
    std::optional<std::string> scalar = ScalarJson(key);
    return scalar.has_value() ? absl::StatusOr<std::string>(*std::move(scalar))
                              : Refuse(key, "a key that is ");
  }

  const JsonStyle& style_;
  int level_ = 0;
  std::string out_;
};

}  // namespace

absl::StatusOr<std::string> ToJson(const Value& value, const JsonStyle& style) {
  Writer writer(style);
  TERNION_RETURN_IF_ERROR(writer.Write(value));
  return writer.Take();
}

Value FromJson(const nlohmann::json& json) {
  if (json.is_boolean()) return Value::Bool(json.get<bool>());
  if (json.is_number_float()) return Value::Float(json.get<double>());
  if (json.is_number_unsigned() && json.get<uint64_t>() > uint64_t{INT64_MAX}) {
    return Value::Float(json.get<double>());
  }
  if (json.is_number()) return Value::Int(json.get<int64_t>());
  if (json.is_string()) return Value::String(Text::Foreign(json.get<std::string>()));
  if (json.is_array()) {
    std::vector<Value> items;
    for (const nlohmann::json& item : json) items.push_back(FromJson(item));
    return Value::List(std::move(items));
  }
  if (!json.is_object()) return Value::None();
  auto dict = std::make_shared<Dict>();
  for (const auto& [name, value] : json.items()) {
    dict->Set(Value::String(Text::Foreign(name)), FromJson(value));
  }
  return Value::Of(std::shared_ptr<const Dict>(std::move(dict)));
}

}  // namespace ternion::jinja
