#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"

namespace ternion {

// The types of JSON values, as bits.
enum JsonTypes : uint32_t {
  kNullType = 1,
  kBooleanType = 2,
  kIntegerType = 4,
  kNumberType = 8,  // integers are among them
  kStringType = 16,
  kArrayType = 32,
  kObjectType = 64
};

// The type of a value; of a number without fraction kIntegerType.
uint32_t JsonTypeOf(const nlohmann::ordered_json& value);

// A schema inside a document, and its path there. Faults name the path.
class SchemaNode {
 public:
  using Json = nlohmann::ordered_json;
  SchemaNode(const Json* value, std::string path) : value_(value), path_(std::move(path)) {}

  const Json& value() const { return *value_; }
  const std::string& path() const { return path_; }
  bool Has(const char* key) const { return value_->contains(key); }
  const Json& operator[](const char* key) const { return (*value_)[key]; }
  SchemaNode Child(const std::string& key) const;
  SchemaNode Child(const std::string& key, size_t index) const;

  // true, false, or an object.
  absl::Status CheckSchema() const;
  // Besides keywords that mean nothing there may be these alone; else kUnimplemented.
  absl::Status CheckKeywords(std::initializer_list<std::string_view> allowed, std::string_view beside) const;
  // A count of at most 10,000, or nothing.
  absl::StatusOr<std::optional<int64_t>> Count(const char* key) const;
  // An integer between +-JsonRules::kLargestInteger, to which others are clamped.
  absl::StatusOr<int64_t> Bound(const char* key) const;
  // What `type` says, or the other keywords; of a schema without any of them all types.
  absl::StatusOr<uint32_t> Types() const;

  absl::Status Invalid(const std::string& key, std::string_view message) const;
  absl::Status Unsupported(const std::string& key, std::string_view message) const;

  // The payload of a fault: its path.
  static constexpr char kPathPayload[] = "ternion/path";

 private:
  absl::Status Fault(absl::StatusCode code, const std::string& key, std::string_view message) const;

  const Json* value_;
  std::string path_;
};

}  // namespace ternion
