#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace ternion {

struct ClusterHost {
  std::string name;
  int slots = 1;  // ranks that it takes
};

// A job as `ternion launch` is told of it by a TOML file; README has the keys.
struct Cluster {
  std::string program;    // on every host; empty: the one that launches
  std::string directory;  // on every host; empty: the current one
  std::string interface;  // for MPI's TCP: a name or CIDR; empty: MPI chooses
  std::string ssh;        // empty: ssh
  std::string bind_to = "none";
  bool oversubscribe = false;
  std::vector<std::string> mpirun_options;
  std::vector<std::string> secrets;                 // variables of this environment
  std::map<std::string, std::string> secret_files;  // variable -> file with its value
  std::map<std::string, std::string> environment;
  std::vector<ClusterHost> hosts;  // in the order of their ranks

  std::string model;               // MODEL, or empty with --synthetic
  std::vector<std::string> serve;  // options: --name=value, or --name of a flag
  std::string synthetic;
  std::string device = "auto";
  std::string listen_host = "0.0.0.0";
  int tp = 1;
  int pp = 1;
  int port = 8000;

  int ranks() const { return tp * pp; }
};

// `text` is the content of `file`. `serve_options`: the long options of `ternion serve`, by which [serve] is checked.
// kInvalidArgument names file, line and key, and what would be right.
absl::StatusOr<Cluster> ParseCluster(const std::string& text, const std::string& file,
                                     const std::set<std::string>& serve_options);

}  // namespace ternion
