#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

namespace ternion {

// The keys that open the server. Only their SHA-256 digests are kept; they are compared in constant time, so
// neither a key's bytes nor its length can be found by timing.
class ApiKeys {
 public:
  explicit ApiKeys(const std::vector<std::string>& keys);
  // `authorization`: the header's value, "Bearer KEY". Without keys everybody is let in.
  bool Allow(std::string_view authorization) const;

 private:
  using Digest = std::array<unsigned char, 32>;
  static Digest DigestOf(std::string_view key);

  std::vector<Digest> digests_;
};

}  // namespace ternion
