#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "net/http_response.h"

namespace ternion {

// Which web pages of other origins may read this server's answers: browsers ask (Fetch standard, 3.2). Without origins
// nothing is said, and no such page may.
class Cors {
 public:
  // `origins` as CheckOrigin takes them.
  explicit Cors(std::vector<std::string> origins) : origins_(std::move(origins)) {}

  // "https://chat.example:8443", or "*" for every page. The error's text; empty when it is one.
  static std::string CheckOrigin(const std::string& origin);

  // Lines for the head of every answer to a page of `origin`; "": the request names none.
  std::string HeaderLines(std::string_view origin) const;

  // What a browser asks before a request that has a key or JSON. `asked_headers`: Access-Control-Request-Headers. 204, or
  // 403 for an origin that is not allowed; nothing where there are no origins.
  std::optional<HttpResponse> Preflight(std::string_view origin, std::string_view asked_headers) const;
  bool Allows(std::string_view origin) const;

 private:
  const std::vector<std::string> origins_;
};

}  // namespace ternion
