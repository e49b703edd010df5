#include "net/field_reader.h"

#include <limits>

#include "absl/strings/str_cat.h"
#include "net/http_error.h"

namespace ternion {

using nlohmann::json;

std::optional<int32_t> TokenIdFrom(const json& value) {
  // The parser stores every integer of at least 0 as unsigned.
  if (!value.is_number_unsigned()) return std::nullopt;
  const uint64_t id = value.get<uint64_t>();
  if (id > static_cast<uint64_t>(std::numeric_limits<int32_t>::max())) return std::nullopt;
  return static_cast<int32_t>(id);
}

const json* FieldReader::Find(std::string_view name) const {
  if (!ok()) return nullptr;
  const auto it = object_->find(std::string(name));
  return it == object_->end() || it->is_null() ? nullptr : &*it;
}

void FieldReader::Fail(std::string_view name, std::string_view message) {
  if (ok()) status_ = ParamError(name, message);
}

void FieldReader::FailUnsupported(std::string_view name, std::string_view message) {
  if (ok()) status_ = UnsupportedParam(name, message);
}

void FieldReader::Read(std::string_view name, bool* target) {
  const json* value = Find(name);
  if (value == nullptr) return;
  if (!value->is_boolean()) return Fail(name, "must be true or false");
  *target = value->get<bool>();
}

void FieldReader::Read(std::string_view name, std::string* target) {
  const json* value = Find(name);
  if (value == nullptr) return;
  if (!value->is_string()) return Fail(name, "must be a string");
  *target = value->get<std::string>();
}

void FieldReader::Read(std::string_view name, int64_t least, int64_t most, int64_t* target) {
  const json* value = Find(name);
  if (value == nullptr) return;
  const bool overflows = value->is_number_unsigned() && value->get<uint64_t>() > uint64_t{INT64_MAX};
  if (!value->is_number_integer() || overflows || value->get<int64_t>() < least ||
      value->get<int64_t>() > most) {
    return Fail(name, most == INT64_MAX ? absl::StrCat("must be an integer of at least ", least)
                                        : absl::StrCat("must be an integer from ", least, " to ", most));
  }
  *target = value->get<int64_t>();
}

void FieldReader::Read(std::string_view name, double least, double most, double* target) {
  const json* value = Find(name);
  if (value == nullptr) return;
  if (!value->is_number() || value->get<double>() < least || value->get<double>() > most) {
    return Fail(name, absl::StrCat("must be a number from ", least, " to ", most));
  }
  *target = value->get<double>();
}

void FieldReader::Read(std::string_view name, std::vector<int32_t>* target) {
  const json* value = Find(name);
  if (value == nullptr) return;
  if (!value->is_array()) return Fail(name, "must be an array of token ids");
  target->clear();
  for (const json& entry : *value) {
    const std::optional<int32_t> id = TokenIdFrom(entry);
    if (!id.has_value()) return Fail(name, "must hold token ids: integers of at least 0");
    target->push_back(*id);
  }
}

}  // namespace ternion
