#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "launcher/cluster_file.h"

namespace ternion {

// What `ternion host-check` finds on a host before a job starts there. Errors are empty where there is none.
struct HostReport {
  std::string version;
  std::string digest;  // of the model, as WeightSource has it
  std::string model_error;
  int cores = 0;
  std::vector<std::string> gpus;  // names
  bool on_gpus = false;           // its ranks would compute there
  int64_t memory_available = 0;   // for all its ranks; on GPUs of the one that has least
  int64_t memory_needed = 0;      // by the weights of all its ranks; on GPUs of the one that needs most
  std::string port_error;         // on rank 0's host

  std::string ToJson() const;
  static absl::StatusOr<HostReport> FromJson(const std::string& text);
};

// A host, its report or why there is none, and what is wrong with it.
struct CheckedHost {
  ClusterHost host;
  int first_rank = 0;
  absl::StatusOr<HostReport> report;
  std::vector<std::string> faults;
  std::vector<std::string> warnings;
};

// Sets faults and warnings: what a host lacks by itself, and where it differs from this program and from the first host.
void JudgeHosts(const Cluster& cluster, std::vector<CheckedHost>* hosts);
bool AllFit(const std::vector<CheckedHost>& hosts);
// A line a host under a line of titles, then the faults and warnings.
std::string HostTable(const std::vector<CheckedHost>& hosts);

}  // namespace ternion
