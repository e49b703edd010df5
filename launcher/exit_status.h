#pragma once

namespace ternion {

// Leaves the status that this process ends with in the file that TERNION_EXIT_STATUS_FILE names, if any, for the program
// that has started the job: the status of `mpirun --enable-recovery` is not that of its ranks. Where several processes
// call it, a status that was there stays.
void RecordExitStatus(int status);

}  // namespace ternion
