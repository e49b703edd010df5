#include "launcher/exit_status.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

namespace ternion {

void RecordExitStatus(int status) {
  const char* path = std::getenv("TERNION_EXIT_STATUS_FILE");
  if (path == nullptr) return;
  // Ranks of other hosts may have no such folder; it is for the host where the job was started.
  const int file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (file < 0) return;
  dprintf(file, "%d\n", status);
  close(file);
}

}  // namespace ternion
