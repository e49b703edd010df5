#pragma once

#include <string>

#include "net/server_state.h"

namespace ternion {

// What GET /status answers, whether the server is ready or not; README has the fields. Before the model is loaded, and
// where nobody knows of ranks, the job's part is missing.
std::string StatusJson(const ServerState& state);

}  // namespace ternion
