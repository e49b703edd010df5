#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace ternion {

// Reads a JSON file. kNotFound; kInvalidArgument when it is not JSON, nests deeper than 64, or names a field
// twice.
absl::StatusOr<nlohmann::json> ReadJsonFile(const std::filesystem::path& file);

// A value in a JSON file, with the way to it: every error begins with "FILE: field.field: ". Borrows the
// value.
class JsonNode {
 public:
  JsonNode(const nlohmann::json& value, std::string file) : JsonNode(value, std::move(file), "") {}

  const nlohmann::json& value() const { return *value_; }
  // Is there such a field, with another value than null?
  bool Has(std::string_view field) const;
  // kInvalidArgument when this is no object or has no such field.
  absl::StatusOr<JsonNode> Field(std::string_view field) const;
  // This is an array, and i one of its places.
  JsonNode Item(size_t i) const;

  // kInvalidArgument when the value is of another type.
  absl::Status ExpectObject() const;
  absl::Status ExpectArray() const;
  absl::StatusOr<std::string> String(std::string_view field) const;
  absl::StatusOr<bool> Bool(std::string_view field) const;
  absl::StatusOr<bool> BoolOr(std::string_view field, bool absent) const;  // null counts as absent
  absl::StatusOr<int64_t> Int(std::string_view field) const;

  absl::Status Invalid(std::string_view message) const;
  absl::Status Unimplemented(std::string_view message) const;
  // The same kind of error, told of this value.
  absl::Status Locate(const absl::Status& error) const;

 private:
  JsonNode(const nlohmann::json& value, std::string file, std::string path)
      : value_(&value), file_(std::move(file)), path_(std::move(path)) {}
  std::string where() const;

  const nlohmann::json* value_;
  std::string file_;
  std::string path_;  // "model.merges[3]"; empty for the whole file
};

}  // namespace ternion
