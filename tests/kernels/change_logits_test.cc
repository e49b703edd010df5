#include <cmath>
#include <limits>

#include "tests/support/backends.h"

namespace ternion {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

class ChangeLogitsTest : public BackendTest {
 protected:
  std::vector<float> Changed(const std::vector<float>& logits, int64_t rows,
                             const std::vector<LogitChange>& changes) {
    const DeviceMatrix<float> table(backend(), rows, static_cast<int64_t>(logits.size()) / rows, logits);
    backend().ChangeLogits(table, changes, {});
    return table.Read();
  }
};
INSTANTIATE_BACKEND_TEST(ChangeLogitsTest);

TEST_P(ChangeLogitsTest, AddsThenDividesOrMultipliesThenSubtracts) {
  EXPECT_EQ(Changed({1, 2, -3, 4, 5, -6}, 2,
                    {{0, 1, 2, 4, 0.25f}, {0, 2, 0, 2, 0}, {1, 0, -6, 1.5f, -1}, {1, 2, 7, 2, 0}}),
            (std::vector<float>{1, 0.75f, -6, -2, 5, 0.5f}));
}

TEST_P(ChangeLogitsTest, AForbiddenColumnStaysForbidden) {
  EXPECT_EQ(Changed({3, -3, 0}, 1, {{0, 0, -kInfinity, 2, 1}, {0, 1, -kInfinity, 0.5f, -2}}),
            (std::vector<float>{-kInfinity, -kInfinity, 0}));
}

TEST_P(ChangeLogitsTest, WithoutChangesNothingHappens) {
  EXPECT_EQ(Changed({1, 2}, 1, {}), (std::vector<float>{1, 2}));
}

// More changes than go with a launch, in a vocabulary of a real size.
TEST_P(ChangeLogitsTest, TellsWhatWasThereAndRestoresIt) {
  constexpr int64_t kRows = 3, kVocab = 33001;
  const std::vector<float> logits = RandomFloats(kRows * kVocab, 5);
  std::vector<LogitChange> changes;
  for (int32_t i = 0; i < 6000; ++i) {
    changes.push_back({i % 3, static_cast<int32_t>(i * 5 % kVocab), static_cast<float>(i % 7) - 3.0f,
                       0.5f + static_cast<float>(i % 4), 0.1f * static_cast<float>(i % 5)});
  }
  const DeviceMatrix<float> table(backend(), kRows, kVocab, logits);
  const DeviceMatrix<float> before(backend(), 1, static_cast<int64_t>(changes.size()));
  backend().ChangeLogits(table, changes, before);
  std::vector<float> want = logits, found;
  for (const LogitChange& change : changes) {
    float& x = want[change.row * kVocab + change.column];
    found.push_back(x);
    x = x + change.add;
    x = x > 0 ? x / change.repetition : x * change.repetition;
    x = x - change.subtract;
  }
  EXPECT_TRUE(SameBits(table.Read(), want));
  EXPECT_TRUE(SameBits(before.Read(), found));
  backend().RestoreLogits(before, changes, table);
  EXPECT_TRUE(SameBits(table.Read(), logits));
}

}  // namespace
}  // namespace ternion
