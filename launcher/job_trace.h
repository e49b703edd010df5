#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "launcher/output_file.h"
#include "parallel/communicator.h"
#include "parallel/mpi_session.h"
#include "parallel/process_grid.h"
#include "runtime/trace/trace.h"
#include "runtime/trace/trace_json.h"

namespace ternion {

// `--trace FILE`: what every rank did while the job ran, in one file in Chrome's trace format, which rank 0 writes at the
// end. Clocks of other hosts are compared with rank 0's at the beginning and at the end.
class JobTrace {
 public:
  // All ranks together, when all are ready; `file` is open on rank 0. Null on every rank where rank 0 has none.
  static absl::StatusOr<std::unique_ptr<JobTrace>> Start(const MpiSession& mpi, const ProcessGrid& grid,
                                                         std::unique_ptr<OutputFile> file);

  Trace* trace() { return &trace_; }

  // All ranks together, when nothing is added any more.
  absl::Status Write();

 private:
  // What a rank tells beside its events.
  struct Header {
    int64_t bytes = 0;
    int64_t dropped = 0;
    int64_t uncertainty_ns = 0;
  };

  JobTrace() = default;
  absl::StatusOr<TraceClock::Look> LookAtClocks();
  absl::Status Send(Header mine, const std::string& events);
  absl::Status Receive(int rank, Header* header, std::string* events);
  void Report(const Header& sum) const;

  Trace trace_;
  ProcessGrid grid_;
  std::string name_;  // this rank's in the picture
  std::unique_ptr<OutputFile> file_;
  std::unique_ptr<Communicator> world_;
  TraceClock clock_;
  std::chrono::nanoseconds uncertainty_{0};
};

}  // namespace ternion
