#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "kernels/check.h"
#include "tests/net/server_fixture.h"

namespace ternion {
namespace {

// While it lives, this process can open `free` more files and no other.
class FewFiles {
 public:
  explicit FewFiles(size_t free) {
    CHECK(getrlimit(RLIMIT_NOFILE, &before_) == 0, "getrlimit");
    rlimit few = before_;
    few.rlim_cur = std::min<rlim_t>(before_.rlim_cur, 512);
    CHECK(setrlimit(RLIMIT_NOFILE, &few) == 0, "setrlimit");
    for (int file = open("/dev/null", O_RDONLY); file >= 0; file = open("/dev/null", O_RDONLY)) {
      held_.push_back(file);
    }
    CHECK(held_.size() >= free, "some files can be opened");
    for (size_t i = 0; i < free; ++i) CloseOne();
  }
  ~FewFiles() {
    while (!held_.empty()) CloseOne();
    setrlimit(RLIMIT_NOFILE, &before_);
  }

 private:
  void CloseOne() {
    close(held_.back());
    held_.pop_back();
  }

  rlimit before_{};
  std::vector<int> held_;
};

TEST(Listener, ServesOnWhileNoFileCanBeOpenedAndAcceptsWhenOneCan) {
#ifdef __SANITIZE_ADDRESS__  // this project's sanitizer build has both
  GTEST_SKIP() << "UndefinedBehaviorSanitizer opens a pipe to look at an object's type, and takes it for a "
                  "wrong one where no file can be opened";
#endif
  TestServer server;
  HttpClient served(server.port());
  EXPECT_EQ(served.Get("/version").status, 200);
  std::unique_ptr<HttpClient> waiting;
  {
    const FewFiles one(1);
    waiting = std::make_unique<HttpClient>(server.port());  // takes it: there is none for the server's side
    ASSERT_TRUE(waiting->Send("GET /version HTTP/1.1\r\nHost: a\r\n\r\n"));
    EXPECT_EQ(served.Get("/version").status, 200);
  }
  EXPECT_EQ(waiting->Read().status, 200);
}

}  // namespace
}  // namespace ternion
