#pragma once

namespace ternion {

// Exit status of the program (docs, README): what a script may rely on.
enum ExitCode : int { kDone = 0, kFailed = 1, kBadArguments = 2, kBadModel = 3, kLostRank = 4 };

}  // namespace ternion
