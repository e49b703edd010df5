#include "parallel/mpi_session.h"

#include <climits>
#include <cstdio>
#include <cstdlib>
#include <numeric>

#include "kernels/check.h"
#include "kernels/status.h"
#include "parallel/mpi_communicator.h"

namespace ternion {
namespace {

constexpr int kRankLost = 4;  // exit status of a job that lost a rank

// Launchers say in the environment that this process is one of several.
bool StartedByLauncher() {
  for (const char* name : {"PMIX_NAMESPACE", "PMIX_RANK", "PMI_RANK", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE"}) {
    if (std::getenv(name) != nullptr) return true;
  }
  return false;
}

// Alone, Open MPI would start a daemon of its own and look for networks: 0.36 s instead of 0.05 s, and a
// process left over. What the user has set is kept.
void PrepareToRunAlone() {
  setenv("OMPI_MCA_ess_singleton_isolated", "1", 0);
  setenv("OMPI_MCA_pml", "ob1", 0);
  setenv("OMPI_MCA_btl", "self", 0);
}

// A collective that fails while the job starts or ends leaves nothing to return to.
void OrAbort(int code, std::string_view call) {
  const absl::Status status = MpiStatus(code, call);
  if (status.ok()) return;
  std::fprintf(stderr, "%s\n", status.ToString().c_str());
  MPI_Abort(MPI_COMM_WORLD, kRankLost);
}

int Countable(size_t bytes) {
  CHECK(bytes <= INT_MAX, "what ranks exchange at start is small");
  return static_cast<int>(bytes);
}

std::string ProcessorName() {
  char name[MPI_MAX_PROCESSOR_NAME];
  int length = 0;
  OrAbort(MPI_Get_processor_name(name, &length), "MPI_Get_processor_name");
  return std::string(name, length);
}

absl::Status InitMpi(int* argc, char*** argv) {
  int running = 0;
  TERNION_RETURN_IF_ERROR(MpiStatus(MPI_Initialized(&running), "MPI_Initialized"));
  CHECK(!running, "MPI is started once, in main");
  if (!StartedByLauncher()) PrepareToRunAlone();
  int provided = MPI_THREAD_SINGLE;
  TERNION_RETURN_IF_ERROR(
      MpiStatus(MPI_Init_thread(argc, argv, MPI_THREAD_FUNNELED, &provided), "MPI_Init_thread"));
  if (provided < MPI_THREAD_FUNNELED) {
    MPI_Finalize();
    return absl::FailedPreconditionError(
        "this MPI library has no thread support; one that provides MPI_THREAD_FUNNELED is needed");
  }
  return MpiStatus(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
}

}  // namespace

absl::StatusOr<std::unique_ptr<MpiSession>> MpiSession::Start(int* argc, char*** argv) {
  TERNION_RETURN_IF_ERROR(InitMpi(argc, argv));
  std::unique_ptr<MpiSession> session(new MpiSession);  // finalizes MPI from here on
  TERNION_RETURN_IF_ERROR(MpiStatus(MPI_Comm_rank(MPI_COMM_WORLD, &session->rank_), "MPI_Comm_rank"));
  TERNION_RETURN_IF_ERROR(MpiStatus(MPI_Comm_size(MPI_COMM_WORLD, &session->size_), "MPI_Comm_size"));
  MPI_Comm local;
  TERNION_RETURN_IF_ERROR(MpiStatus(
      MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, session->rank_, MPI_INFO_NULL, &local),
      "MPI_Comm_split_type"));
  MPI_Comm_rank(local, &session->local_rank_);
  MPI_Comm_size(local, &session->local_size_);
  MPI_Comm_free(&local);
  session->host_ = ProcessorName();
  return session;
}

MpiSession::~MpiSession() { MPI_Finalize(); }

std::vector<std::string> MpiSession::AllGatherStrings(std::string_view mine) const {
  const int length = Countable(mine.size());
  std::vector<int> lengths(size_);
  OrAbort(MPI_Allgather(&length, 1, MPI_INT, lengths.data(), 1, MPI_INT, MPI_COMM_WORLD), "MPI_Allgather");
  std::string all(Countable(std::accumulate(lengths.begin(), lengths.end(), size_t{0})), '\0');
  std::vector<int> offsets(size_);
  std::exclusive_scan(lengths.begin(), lengths.end(), offsets.begin(), 0);
  OrAbort(MPI_Allgatherv(mine.data(), length, MPI_BYTE, all.data(), lengths.data(), offsets.data(), MPI_BYTE,
                         MPI_COMM_WORLD),
          "MPI_Allgatherv");
  std::vector<std::string> strings;
  strings.reserve(size_);
  for (int r = 0; r < size_; ++r) strings.push_back(all.substr(offsets[r], lengths[r]));
  return strings;
}

std::string MpiSession::Broadcast(std::string_view from_rank_0) const {
  int length = rank_ == 0 ? Countable(from_rank_0.size()) : 0;
  OrAbort(MPI_Bcast(&length, 1, MPI_INT, 0, MPI_COMM_WORLD), "MPI_Bcast");
  std::string bytes = rank_ == 0 ? std::string(from_rank_0) : std::string(length, '\0');
  OrAbort(MPI_Bcast(bytes.data(), length, MPI_BYTE, 0, MPI_COMM_WORLD), "MPI_Bcast");
  return bytes;
}

absl::StatusOr<std::unique_ptr<Communicator>> MpiSession::Split(int color, int key) const {
  MPI_Comm comm;
  TERNION_RETURN_IF_ERROR(MpiStatus(MPI_Comm_split(MPI_COMM_WORLD, color, key, &comm), "MPI_Comm_split"));
  return MakeMpiCommunicator(comm);
}

void MpiSession::Abort(int exit_status) const {
  std::fflush(nullptr);
  MPI_Abort(MPI_COMM_WORLD, exit_status);
  std::_Exit(exit_status);
}

}  // namespace ternion
