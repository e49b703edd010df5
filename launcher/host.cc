#include "launcher/host.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

namespace ternion {

CoreShare ShareCores(const MpiSession& mpi) {
  cpu_set_t mask;
  CPU_ZERO(&mask);
  CoreShare share;
  std::string mine = absl::StrCat(mpi.host(), ":");
  if (sched_getaffinity(0, sizeof(mask), &mask) == 0) {
    share.cores = std::max(1, CPU_COUNT(&mask));
    mine.append(reinterpret_cast<const char*>(&mask), sizeof(mask));
  }
  const std::vector<std::string> all = mpi.AllGatherStrings(mine);
  share.ranks = static_cast<int>(std::count(all.begin(), all.end(), mine));
  share.first = std::find(all.begin(), all.end(), mine) - all.begin() == mpi.rank();
  return share;
}

int OwnCores() {
  cpu_set_t mask;
  CPU_ZERO(&mask);
  return sched_getaffinity(0, sizeof(mask), &mask) == 0 ? std::max(1, CPU_COUNT(&mask)) : 1;
}

int64_t AvailableHostMemory() {
  std::ifstream file("/proc/meminfo");
  std::string key;
  int64_t kib = 0;
  for (std::string unit; file >> key >> kib; std::getline(file, unit)) {
    if (key == "MemAvailable:") return kib * 1024;
  }
  return 0;
}

int64_t ResidentBytes() {
  std::ifstream file("/proc/self/statm");
  int64_t pages = 0;
  int64_t resident_pages = 0;
  file >> pages >> resident_pages;
  return resident_pages * sysconf(_SC_PAGESIZE);
}

std::string HostAddresses() {
  std::vector<std::string> addresses;
  ifaddrs* list = nullptr;
  if (getifaddrs(&list) != 0) return "127.0.0.1";
  for (const ifaddrs* entry = list; entry != nullptr; entry = entry->ifa_next) {
    const bool usable = entry->ifa_addr != nullptr && entry->ifa_addr->sa_family == AF_INET &&
                        (entry->ifa_flags & IFF_UP) != 0 && (entry->ifa_flags & IFF_LOOPBACK) == 0;
    if (!usable) continue;
    char text[INET_ADDRSTRLEN];
    const auto* address = reinterpret_cast<const sockaddr_in*>(entry->ifa_addr);
    if (inet_ntop(AF_INET, &address->sin_addr, text, sizeof(text)) != nullptr) addresses.emplace_back(text);
  }
  freeifaddrs(list);
  std::string lines;
  for (const std::string& address : addresses) absl::StrAppend(&lines, lines.empty() ? "" : "\n", address);
  return lines.empty() ? "127.0.0.1" : lines;
}

ProgressLine::ProgressLine(std::string task, bool enabled)
    : task_(std::move(task)),
      enabled_(enabled),
      terminal_(isatty(STDERR_FILENO) != 0),
      start_(std::chrono::steady_clock::now()) {}

void ProgressLine::Show(double done) {
  if (!enabled_ || std::chrono::steady_clock::now() - start_ < std::chrono::milliseconds(500)) return;
  const int percent = static_cast<int>(done * 100);
  if (terminal_) {
    std::fprintf(stderr, "\r%s %3d %%", task_.c_str(), percent);
  } else if (percent / 10 > last_tenth_) {
    std::fprintf(stderr, "%s %d %%\n", task_.c_str(), percent);
  }
  last_tenth_ = percent / 10;
  shown_ = true;
}

void ProgressLine::Done() {
  if (enabled_ && shown_ && terminal_) std::fprintf(stderr, "\r%s done\n", task_.c_str());
}

}  // namespace ternion
