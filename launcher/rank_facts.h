#pragma once

#include <string>
#include <vector>

#include "parallel/mpi_session.h"
#include "runtime/serving/job_status.h"

namespace ternion {

// Every rank's facts, by rank. Called by all ranks together.
std::vector<RankFacts> GatherFacts(const MpiSession& mpi, const RankFacts& mine);

// The name of this host's processor.
std::string ProcessorName();

}  // namespace ternion
