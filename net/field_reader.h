#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "nlohmann/json.hpp"

namespace ternion {

// Reads typed fields of a JSON object. A field that is absent or null leaves its target as it was. The first
// fault is kept as a ParamError that names the field; later reads then do nothing.
class FieldReader {
 public:
  // `object` outlives the reader.
  explicit FieldReader(const nlohmann::json& object) : object_(&object) {}

  void Read(std::string_view name, bool* target);
  void Read(std::string_view name, std::string* target);
  // Least and most are allowed.
  void Read(std::string_view name, int64_t least, int64_t most, int64_t* target);
  void Read(std::string_view name, double least, double most, double* target);
  // Token ids: integers of at least 0.
  void Read(std::string_view name, std::vector<int32_t>* target);

  // The field's value; null when it is absent, null, or a fault was found before.
  const nlohmann::json* Find(std::string_view name) const;
  void Fail(std::string_view name, std::string_view message);
  void FailUnsupported(std::string_view name, std::string_view message);

  bool ok() const { return status_.ok(); }
  const absl::Status& status() const { return status_; }

 private:
  const nlohmann::json* object_;
  absl::Status status_;
};

// An id as JSON writes it: an integer that fits and is at least 0.
std::optional<int32_t> TokenIdFrom(const nlohmann::json& value);

}  // namespace ternion
