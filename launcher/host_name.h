#pragma once

#include <string>

namespace ternion {

// As this host calls itself.
std::string HostName();

}  // namespace ternion
