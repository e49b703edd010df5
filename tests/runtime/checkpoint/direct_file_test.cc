#include "runtime/checkpoint/direct_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "runtime/checkpoint/mapped_file.h"
#include "runtime/checkpoint/safetensors.h"
#include "runtime/checkpoint/safetensors_writer.h"
#include "runtime/checkpoint/sha256.h"
#include "tests/support/temp_folder.h"

namespace ternion {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr size_t kMegabyte = size_t{1} << 20;

// Whole pages, so that data can begin at one or beside it.
class Pages {
 public:
  explicit Pages(size_t bytes) : pages_(bytes / sizeof(Page) + 1) {
    for (size_t i = 0; i < pages_.size() * sizeof(Page); ++i)
      data()[i] = static_cast<std::byte>(i * 7 + i / 999);
  }
  absl::Span<const std::byte> Part(size_t begin, size_t bytes) { return {data() + begin, bytes}; }

 private:
  struct alignas(DirectFile::kAlignment) Page {
    std::byte bytes[DirectFile::kAlignment];
  };
  std::byte* data() { return pages_.front().bytes; }

  std::vector<Page> pages_;
};

std::string TextOf(absl::Span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// While it lives files end at `bytes`, as if the disk were full.
class FileLimit {
 public:
  explicit FileLimit(rlim_t bytes) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit = {bytes, before_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileLimit() {
    setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }
  FileLimit(const FileLimit&) = delete;
  FileLimit& operator=(const FileLimit&) = delete;

 private:
  void (*const handler_)(int);
  rlimit before_ = {};
};

TEST(DirectFile, HoldsWhatWasWritten) {
  const TempFolder folder;
  Pages pages(3 * kMegabyte);
  for (const size_t begin : {0, 1, 512}) {
    for (const int64_t at : {0, 4096, 4097}) {
      for (const size_t bytes : {size_t{0}, size_t{5}, kMegabyte, 2 * kMegabyte + 4097}) {
        const auto path = folder.path() / "file";
        auto file = DirectFile::Create(path);
        ASSERT_TRUE(file.ok()) << file.status();
        const auto data = pages.Part(begin, bytes);
        ASSERT_TRUE(file->Write(data, at).ok());
        ASSERT_TRUE(file->Sync().ok());
        const std::string want = std::string(bytes == 0 ? 0 : static_cast<size_t>(at), '\0') + TextOf(data);
        EXPECT_TRUE(*ReadTextFile(path, 4 * kMegabyte) == want) << begin << " " << at << " " << bytes;
      }
    }
  }
}

TEST(DirectFile, AFullDiskIsNamed) {
  const TempFolder folder;
  Pages pages(4 * kMegabyte);
  const auto path = folder.path() / "file";
  auto file = DirectFile::Create(path);
  ASSERT_TRUE(file.ok()) << file.status();
  const FileLimit limit(2 * kMegabyte + 100);
  for (const size_t begin : {0, 1}) {
    const absl::Status status = file->Write(pages.Part(begin, 3 * kMegabyte), 0);
    EXPECT_FALSE(status.ok());
    EXPECT_THAT(std::string(status.message()),
                AllOf(HasSubstr(path.string()), HasSubstr("cannot write: File too large; make room there")));
  }
}

TEST(DirectFile, AFolderThatIsMissingIsNamed) {
  const auto file = DirectFile::Create("/none/file");
  EXPECT_EQ(file.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(file.status().message()), HasSubstr("/none/file: cannot write"));
}

TEST(SafetensorsWriter, LargeTensorsAreWrittenAndHashed) {
  const TempFolder folder;
  Pages pages(3 * kMegabyte);
  const std::vector<absl::Span<const std::byte>> tensors = {pages.Part(0, 2 * kMegabyte + 3),
                                                            pages.Part(0, 1), pages.Part(1, 2 * kMegabyte)};
  const auto path = folder.path() / "file";
  const auto writer = SafetensorsWriter::Create(path, 3);
  ASSERT_TRUE(writer.ok()) << writer.status();
  for (const auto& data : tensors) {
    const auto name = absl::StrCat("t", (*writer)->tensors().size());
    ASSERT_TRUE((*writer)->Add(name, DType::kU8, {static_cast<int64_t>(data.size())}, data).ok());
    EXPECT_EQ((*writer)->tensors().back().sha256, Sha256Of(TextOf(data)));
  }
  ASSERT_TRUE((*writer)->Finish().ok());
  const auto file = SafetensorsFile::Open(path);
  ASSERT_TRUE(file.ok()) << file.status();
  for (size_t i = 0; i < tensors.size(); ++i) {
    EXPECT_TRUE((*file)->Find(absl::StrCat("t", i))->data == tensors[i]) << i;
  }
}

TEST(SafetensorsWriter, NothingIsLeftWhereTheDiskIsFull) {
  const TempFolder folder;
  Pages pages(3 * kMegabyte);
  {
    const auto writer = SafetensorsWriter::Create(folder.path() / "file", 1);
    ASSERT_TRUE(writer.ok()) << writer.status();
    const FileLimit limit(2 * kMegabyte);
    const absl::Status status =
        (*writer)->Add("t", DType::kU8, {3 * kMegabyte}, pages.Part(0, 3 * kMegabyte));
    EXPECT_THAT(std::string(status.message()), HasSubstr("make room there"));
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

}  // namespace
}  // namespace ternion
