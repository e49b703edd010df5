// Model folders and GGUF files that somebody made to break a loader (broken_*.cc): each is one error of one line that names the
// file and what is wrong in it, and costs no more memory than four times the files.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <ostream>
#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "kernels/status.h"
#include "runtime/model/weights.h"
#include "tests/runtime/checkpoint/broken_gguf.h"
#include "tests/runtime/checkpoint/broken_model.h"
#include "tests/runtime/checkpoint/counted_allocations.h"

namespace ternion {

void PrintTo(const BrokenCase& broken, std::ostream* out) { *out << broken.name; }
void PrintTo(const BrokenGguf& broken, std::ostream* out) { *out << broken.name; }

namespace {

using ::testing::HasSubstr;
using ::testing::Not;
namespace fs = std::filesystem;

constexpr int64_t kTimesTheFiles = 4;
// What an error's text, the config and a table of tensors take, however small the files are.
constexpr int64_t kSmallChange = 256 << 10;

int64_t FileBytes(const fs::path& folder) {
  int64_t bytes = 0;
  for (const auto& entry : fs::directory_iterator(folder)) {
    std::error_code ignored;
    if (fs::is_regular_file(entry.path(), ignored))
      bytes += static_cast<int64_t>(fs::file_size(entry.path()));
  }
  return bytes;
}

struct Attempt {
  absl::Status status;
  int64_t peak_bytes = 0;
};

// Opens and loads the whole model; `path` is a folder or a GGUF file.
Attempt Load(const fs::path& path) {
  const auto backend = MakeCpuBackend(1);
  const CountedAllocations allocations;
  const auto load = [&]() -> absl::Status {
    TERNION_ASSIGN_OR_RETURN(const auto source,
                             path.extension() == ".gguf" ? OpenGguf(path) : OpenCheckpoint(path));
    return source->Load({}, *backend, [](double) {}).status();
  };
  absl::Status status = load();
  return {std::move(status), allocations.peak_bytes()};
}

void ExpectOneClearError(const Attempt& attempt, const fs::path& folder,
                         const std::vector<std::string>& says) {
  const std::string message(attempt.status.message());
  ASSERT_FALSE(attempt.status.ok());
  EXPECT_THAT(message, HasSubstr(folder.string()));
  for (const char control : {'\n', '\r', '\0', '\x1b'})
    EXPECT_THAT(message, Not(HasSubstr(std::string(1, control))));
  EXPECT_LT(message.size(), 1000u + folder.string().size() * 3);
  for (const std::string& part : says) EXPECT_THAT(message, HasSubstr(part));
  const int64_t most = kTimesTheFiles * FileBytes(folder) + kSmallChange;
  EXPECT_LE(attempt.peak_bytes, most) << "of " << FileBytes(folder) << " bytes of files";
  ::testing::Test::RecordProperty("error", message.substr(0, 300));
  ::testing::Test::RecordProperty("peak_bytes", absl::StrCat(attempt.peak_bytes));
}

// Whether the model loads before it is broken. A layout that is not read yet is refused for that, by name.
bool IsSound(const std::string& base) {
  static auto* const known = new std::map<std::string, bool>;
  const auto found = known->find(base);
  if (found != known->end()) return found->second;
  const TempFolder folder;
  BrokenModel::Of(base).Write(folder);
  return (*known)[base] = Load(folder.path()).status.ok();
}

class HostileModel : public ::testing::TestWithParam<BrokenCase> {};

TEST_P(HostileModel, IsOneClearError) {
  const TempFolder folder;
  BrokenModel model = BrokenModel::Of(GetParam().base);
  GetParam().breaking(model);
  model.Write(folder);
  const bool sound = IsSound(GetParam().base);  // first, so that tables which are made once are not counted
  ExpectOneClearError(Load(folder.path()), folder.path(),
                      sound ? GetParam().says : std::vector<std::string>());
}

const auto kName = [](const auto& test) { return std::string(test.param.name); };
INSTANTIATE_TEST_SUITE_P(Files, HostileModel, ::testing::ValuesIn(kBrokenFiles), kName);
INSTANTIATE_TEST_SUITE_P(Configs, HostileModel, ::testing::ValuesIn(kBrokenConfigs), kName);
INSTANTIATE_TEST_SUITE_P(Tensors, HostileModel, ::testing::ValuesIn(kBrokenTensors), kName);
INSTANTIATE_TEST_SUITE_P(Gptq, HostileModel, ::testing::ValuesIn(kBrokenGptq), kName);

class HostileGgufModel : public ::testing::TestWithParam<BrokenGguf> {};

const GgufTestFile& SoundGgufModel(uint32_t type) {
  static auto* const models = new std::map<uint32_t, GgufTestFile>;
  const auto [model, added] = models->try_emplace(type);
  if (added) model->second = GgufTinyModel(type == kI2sType ? "bitnet-b1.58" : "llama", type).file;
  return model->second;
}

TEST_P(HostileGgufModel, IsOneClearError) {
  const TempFolder folder;
  ASSERT_TRUE(IsSound("llama_bitnet"));
  GgufTestFile file = SoundGgufModel(GetParam().type);
  GetParam().breaking(file);
  const Attempt attempt = Load(folder.Write("model.gguf", file.Bytes()));
  ExpectOneClearError(attempt, folder.path(), GetParam().says);
}

INSTANTIATE_TEST_SUITE_P(All, HostileGgufModel, ::testing::ValuesIn(kBrokenGguf), kName);

// The ruler: a sound model needs its weights once, and the counter sees them.
TEST(HostileModels, AreSoundUntilTheyAreBroken) {
  for (const char* base : {"llama_bitnet", "bitnet_packed", "bitnet_online"}) {
    ASSERT_TRUE(IsSound(base));
    const TempFolder folder;
    BrokenModel::Of(base).Write(folder);
    const Attempt attempt = Load(folder.path());
    EXPECT_TRUE(attempt.status.ok()) << attempt.status;
    EXPECT_GT(attempt.peak_bytes, 100'000);
    EXPECT_LT(attempt.peak_bytes, kTimesTheFiles * FileBytes(folder.path()) + kSmallChange);
  }
  for (const uint32_t type : {kTq1Type, kTq2Type, kI2sType}) {
    const TempFolder folder;
    const Attempt attempt = Load(folder.Write("model.gguf", SoundGgufModel(type).Bytes()));
    EXPECT_TRUE(attempt.status.ok()) << attempt.status;
  }
}

TEST(HostileModels, AreAtLeastAHundredOfDifferentNames) {
  std::set<std::string> names;
  for (const auto* cases : {&kBrokenFiles, &kBrokenConfigs, &kBrokenTensors, &kBrokenGptq}) {
    for (const BrokenCase& broken : *cases) names.insert(absl::StrCat(broken.base, broken.name));
  }
  EXPECT_GE(names.size() + kBrokenGguf.size(), 250u);
}

}  // namespace
}  // namespace ternion
