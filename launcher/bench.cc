#include "launcher/commands.h"

namespace ternion {
void AddBench(CLI::App&, Command&) {}
}  // namespace ternion
