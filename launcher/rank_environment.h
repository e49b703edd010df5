#pragma once

namespace ternion {

// What the launcher's environment (Open MPI's, or PMIx's of srun) says of this rank before MPI has started.
int LaunchedRank();  // 0 without a launcher
bool IsFirstRank();
bool IsFirstOfHost();  // one rank speaks for those of its host

}  // namespace ternion
