// Every rank runs every test; rank 0 prints all, the others what failed. The program fails when any rank did.
#include <gtest/gtest.h>

#include <cstdio>
#include <memory>

#include "kernels/check.h"
#include "tests/parallel/mpi/session.h"

namespace ternion {
namespace {

std::unique_ptr<MpiSession> session;

class FailuresOfThisRank final : public testing::EmptyTestEventListener {
  void OnTestPartResult(const testing::TestPartResult& result) override {
    if (!result.failed()) return;
    std::fprintf(stderr, "rank %d: %s:%d: %s\n", session->rank(), result.file_name(), result.line_number(),
                 result.message());
  }
};

void KeepQuiet() {
  testing::TestEventListeners& listeners = testing::UnitTest::GetInstance()->listeners();
  delete listeners.Release(listeners.default_result_printer());
  listeners.Append(new FailuresOfThisRank);  // GoogleTest owns it
}

int RunTests(int argc, char** argv) {
  auto started = MpiSession::Start(&argc, &argv);
  if (!started.ok()) {
    std::fprintf(stderr, "%s\n", started.status().ToString().c_str());
    return 1;
  }
  session = *std::move(started);
  testing::InitGoogleTest(&argc, argv);
  if (session->rank() > 0) KeepQuiet();
  const bool passed = RUN_ALL_TESTS() == 0;
  bool all_passed = true;
  for (const std::string& theirs : session->AllGatherStrings(passed ? "passed" : "failed")) {
    all_passed = all_passed && theirs == "passed";
  }
  session.reset();
  return all_passed ? 0 : 1;
}

}  // namespace

const MpiSession& TestSession() {
  CHECK(session != nullptr, "main starts the session");
  return *session;
}

}  // namespace ternion

int main(int argc, char** argv) { return ternion::RunTests(argc, argv); }
