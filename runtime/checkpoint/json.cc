#include "runtime/checkpoint/json.h"

#include <cstddef>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "kernels/status.h"

namespace ternion {
namespace {

using nlohmann::json;

constexpr size_t kMostDepth = 64;
constexpr size_t kMostShown = 60;  // bytes of a value that an error message shows
constexpr size_t kMostShownText = 200;
constexpr size_t kValueBytes =
    80;  // of a value beside its text, roughly: a map's node, or an array that grows

// Builds the document by events, because only they show duplicate keys and let a deep text be left early.
class DocumentBuilder final : public json::json_sax_t {
 public:
  explicit DocumentBuilder(size_t most_bytes) : most_bytes_(most_bytes) {}

  bool null() override { return Add(nullptr) != nullptr; }
  bool boolean(bool value) override { return Add(value) != nullptr; }
  bool number_integer(number_integer_t value) override { return Add(value) != nullptr; }
  bool number_unsigned(number_unsigned_t value) override { return Add(value) != nullptr; }
  bool number_float(number_float_t value, const string_t&) override { return Add(value) != nullptr; }
  bool string(string_t& value) override { return Count(value.size()) && Add(std::move(value)) != nullptr; }
  bool binary(binary_t&) override { return Fail("binary data"); }
  bool start_object(size_t) override { return Enter(json::object()); }
  bool end_object() override { return Leave(); }
  bool start_array(size_t) override { return Enter(json::array()); }
  bool end_array() override { return Leave(); }

  bool key(string_t& name) override {
    if (!Count(name.size())) return false;
    const auto [slot, added] = open_.back()->get_ref<json::object_t&>().emplace(name, nullptr);
    if (!added) return Fail(absl::StrCat("the key \"", Shown(name), "\" occurs twice"));
    slot_ = &slot->second;
    return true;
  }

  bool parse_error(size_t, const std::string&, const json::exception& error) override {
    const std::string_view what = error.what();  // "[json.exception...] parse error at line ..."
    const size_t text = what.find("] ");
    return Fail(Shown(text == what.npos ? what : what.substr(text + 2)));
  }

  json& document() { return document_; }
  const std::string& error() const { return error_; }

 private:
  bool Count(size_t bytes) {
    bytes_ += bytes;
    return bytes_ <= most_bytes_ ||
           Fail(absl::StrCat("its values take more than ", most_bytes_, " bytes of memory"));
  }

  // Null where there is no room.
  json* Add(json value) {
    if (!Count(kValueBytes)) return nullptr;
    if (open_.empty()) {
      document_ = std::move(value);
      return &document_;
    }
    if (open_.back()->is_array()) {
      open_.back()->push_back(std::move(value));
      return &open_.back()->back();
    }
    *slot_ = std::move(value);
    return slot_;
  }

  bool Enter(json container) {
    if (open_.size() == kMostDepth) return Fail(absl::StrCat("nested deeper than ", kMostDepth));
    open_.push_back(Add(std::move(container)));
    return open_.back() != nullptr;
  }

  bool Leave() {
    open_.pop_back();
    return true;
  }

  bool Fail(std::string_view error) {
    error_ = error;
    return false;
  }

  const size_t most_bytes_;
  size_t bytes_ = 0;
  json document_;
  std::vector<json*> open_;  // the containers around the next value, outermost first
  json* slot_ = nullptr;     // where the value of the last key goes
  std::string error_;
};

std::string Shown(const json& value) {
  std::string text = value.dump(-1, ' ', false, json::error_handler_t::replace);
  if (text.size() > kMostShown) text = text.substr(0, kMostShown) + "...";
  return text;
}

}  // namespace

std::string Shown(std::string_view text) {
  std::string shown;
  for (const char c : text.substr(0, kMostShownText)) {
    const bool printable = c >= ' ' && c <= '~';
    shown += printable ? std::string(1, c) : absl::StrFormat("\\x%02x", static_cast<unsigned char>(c));
  }
  if (text.size() > kMostShownText) shown += "...";
  return shown;
}

absl::StatusOr<json> ParseJson(std::string_view text, std::string_view where, absl::StatusCode code,
                               size_t most_bytes) {
  DocumentBuilder builder(most_bytes);
  if (!json::sax_parse(text.begin(), text.end(), &builder)) {
    return absl::Status(code, absl::StrCat(ToAbsl(where), ": is not valid JSON: ", builder.error()));
  }
  return std::move(builder.document());
}

absl::StatusOr<JsonFields> JsonFields::Of(const json& value, std::string_view where, const Names* names) {
  if (value.is_object()) return JsonFields(value, where, names);
  return absl::InvalidArgumentError(
      absl::StrCat(ToAbsl(where), ": is ", Shown(value), "; it must be a JSON object"));
}

const json* JsonFields::Find(std::string_view field) const {
  const auto found = value_->find(std::string(field));
  return found == value_->end() || found->is_null() ? nullptr : &*found;
}

absl::StatusOr<int64_t> JsonFields::Int(std::string_view field, int64_t least, int64_t most) const {
  const json* value = Find(field);
  const bool fits =
      value != nullptr && value->is_number_integer() &&
      !(value->is_number_unsigned() && value->get<uint64_t>() > static_cast<uint64_t>(INT64_MAX));
  if (fits && value->get<int64_t>() >= least && value->get<int64_t>() <= most) return value->get<int64_t>();
  return Wrong(field, absl::StrCat("it must be an integer from ", least, " to ", most));
}

absl::StatusOr<double> JsonFields::Number(std::string_view field, double above, double most) const {
  const json* value = Find(field);
  if (value != nullptr && value->is_number() && value->get<double>() > above &&
      value->get<double>() <= most) {
    return value->get<double>();
  }
  return Wrong(field, absl::StrCat("it must be a number above ", above, " and at most ", most));
}

absl::StatusOr<bool> JsonFields::BoolOr(std::string_view field, bool fallback) const {
  const json* value = Find(field);
  if (value == nullptr) return fallback;
  if (value->is_boolean()) return value->get<bool>();
  return Wrong(field, "it must be true or false");
}

absl::StatusOr<std::string> JsonFields::Choice(std::string_view field,
                                               std::initializer_list<std::string_view> choices) const {
  const json* value = Find(field);
  for (const std::string_view choice : choices) {
    if (value != nullptr && value->is_string() && value->get_ref<const std::string&>() == choice) {
      return std::string(choice);
    }
  }
  const auto quote = [](std::string* out, std::string_view choice) {
    absl::StrAppend(out, "\"", ToAbsl(choice), "\"");
  };
  return Wrong(field, absl::StrCat("it must be ", absl::StrJoin(choices, " or ", quote)));
}

absl::StatusOr<std::vector<int32_t>> JsonFields::Ids(std::string_view field, int64_t most) const {
  const json* value = Find(field);
  if (value == nullptr) return std::vector<int32_t>();
  const json list = value->is_array() ? *value : json::array({*value});
  std::vector<int32_t> ids;
  for (const json& id : list) {
    if (!id.is_number_unsigned() || id.get<uint64_t>() > static_cast<uint64_t>(most)) {
      return Wrong(field, absl::StrCat("it must be a token id from 0 to ", most, " or a list of them"));
    }
    ids.push_back(id.get<int32_t>());
  }
  return ids;
}

absl::StatusOr<JsonFields> JsonFields::Object(std::string_view field) const {
  const json* value = Find(field);
  if (value == nullptr || !value->is_object()) return Wrong(field, "it must be a JSON object");
  return JsonFields(*value, absl::StrCat(where_, ": ", ToAbsl(NameOf(field))));
}

std::string_view JsonFields::NameOf(std::string_view field) const {
  if (names_ == nullptr) return field;
  const auto name = names_->find(field);
  return name == names_->end() ? field : name->second;
}

absl::Status JsonFields::Wrong(std::string_view field, std::string_view right) const {
  return absl::InvalidArgumentError(Describe(field, right));
}

absl::Status JsonFields::Unsupported(std::string_view field, std::string_view right) const {
  return absl::UnimplementedError(Describe(field, right));
}

std::string JsonFields::Describe(std::string_view field, std::string_view right) const {
  const json* value = Find(field);
  return absl::StrCat(where_, ": ", ToAbsl(NameOf(field)),
                      value == nullptr ? " is missing" : " is " + Shown(*value), "; ", ToAbsl(right));
}

}  // namespace ternion
