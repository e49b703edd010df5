#include "launcher/rank_environment.h"

#include <cstdlib>
#include <initializer_list>

namespace ternion {

int LaunchedRank() {
  for (const char* name : {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK"}) {
    if (const char* const rank = std::getenv(name)) return std::atoi(rank);
  }
  return 0;
}

bool IsFirstRank() { return LaunchedRank() == 0; }

bool IsFirstOfHost() {
  const char* const rank = std::getenv("OMPI_COMM_WORLD_LOCAL_RANK");
  return rank != nullptr ? std::atoi(rank) == 0 : IsFirstRank();
}

}  // namespace ternion
