#include "tests/support/rank_threads.h"

#include <memory>
#include <thread>
#include <utility>
#include <vector>

namespace ternion {

void RunRanks(int size, absl::FunctionRef<void(Communicator& group)> body) {
  std::vector<std::thread> threads;
  for (std::unique_ptr<Communicator>& group : MakeLocalCommunicators(size)) {
    threads.emplace_back([body, mine = std::move(group)] { body(*mine); });
  }
  for (std::thread& thread : threads) thread.join();
}

void RunGrid(int tp, int stages, absl::FunctionRef<void(Communicator& group, Communicator& column)> body) {
  std::vector<std::vector<std::unique_ptr<Communicator>>> columns;  // [tp rank][stage]
  for (int r = 0; r < tp; ++r) columns.push_back(MakeLocalCommunicators(stages));
  std::vector<std::thread> threads;
  for (int s = 0; s < stages; ++s) {
    std::vector<std::unique_ptr<Communicator>> groups = MakeLocalCommunicators(tp);
    for (int r = 0; r < tp; ++r) {
      threads.emplace_back(
          [body, group = std::move(groups[r]), column = std::move(columns[r][s])] { body(*group, *column); });
    }
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace ternion
