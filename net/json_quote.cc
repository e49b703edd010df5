#include "net/json_quote.h"

#include "nlohmann/json.hpp"

namespace ternion {

std::string QuoteJson(std::string_view text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace ternion
