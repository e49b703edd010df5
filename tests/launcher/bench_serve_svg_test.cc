#include "launcher/bench_serve_svg.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "launcher/output_file.h"
#include "tests/support/temp_folder.h"

namespace ternion {
namespace {

using testing::HasSubstr;
using testing::Not;

// Of one kind's curve: the numbers of its path, in which letters have become spaces.
std::vector<double> CurveNumbers(const std::string& svg) {
  const std::string begin = "<path class=\"curve\" d=\"M";
  const size_t at = svg.find(begin) + begin.size();
  std::string path = svg.substr(at, svg.find('"', at) - at);
  for (char& c : path) {
    if (c == 'H' || c == 'V') c = ' ';
  }
  std::vector<double> numbers;
  const char* next = path.c_str();
  for (char* end = nullptr;; next = end) {
    const double number = std::strtod(next, &end);
    if (end == next) return numbers;
    numbers.push_back(number);
  }
}

Summary OneKind(std::vector<double> sorted_ms) {
  Summary summary;
  summary.kinds = {{"ttft", "Time to First Token", std::move(sorted_ms)}};
  return summary;
}

// 10, 20, 40 ms on an axis from 10 to 40 that is 376 wide, one third of 172 up at each.
TEST(LatencySvgTest, CurveClimbsAtEveryValue) {
  const std::string svg = LatencySvg(OneKind({10, 20, 40}), {}, "t", {"s"});
  const std::vector<double> numbers = CurveNumbers(svg);
  ASSERT_EQ(numbers.size(), 8u) << svg;
  const double third = 376 / 3.0;
  const double up = 172 / 3.0;
  const std::vector<double> expected = {60, 222, 60, 222 - up, 60 + third, 222 - 2 * up, 436, 50};
  for (size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(numbers[i], expected[i], 0.06) << i;
  EXPECT_THAT(svg, HasSubstr("median 20.0 ms · mean 23.3 ms · P99 39.6 ms · longest 40.0 ms"));
  EXPECT_THAT(svg, HasSubstr("within so many milliseconds<"));
}

// From 1 to 1000: a third of the way for each decade.
TEST(LatencySvgTest, WideRangesAreLogarithmic) {
  const std::string svg = LatencySvg(OneKind({1, 10, 100, 1000}), {}, "t", {"s"});
  const std::vector<double> numbers = CurveNumbers(svg);
  ASSERT_EQ(numbers.size(), 10u);
  EXPECT_NEAR(numbers[4], 60 + 376 / 3.0, 0.06);
  EXPECT_NEAR(numbers[8], 436, 0.06);
  EXPECT_THAT(svg, HasSubstr("milliseconds, logarithmic"));
}

TEST(LatencySvgTest, ManyValuesTakeFewSteps) {
  std::vector<double> values;
  for (int i = 0; i < 100'000; ++i) values.push_back(100 + i * 1e-3);
  const std::string svg = LatencySvg(OneKind(values), {}, "t", {"s"});
  const std::vector<double> numbers = CurveNumbers(svg);
  EXPECT_EQ(numbers.size(), 2 + 2 * 400u);
  EXPECT_NEAR(numbers[numbers.size() - 2], 436, 0.06) << "the longest is there";
  EXPECT_LT(svg.size(), 30'000u);
}

TEST(LatencySvgTest, LongTimesHaveSeconds) {
  EXPECT_THAT(LatencySvg(OneKind({20'000, 30'000}), {}, "t", {"s"}),
              testing::AllOf(HasSubstr("longest 30.0 s"), HasSubstr("so many seconds")));
}

TEST(LatencySvgTest, EdgesOfWhatIsMeasured) {
  EXPECT_THAT(LatencySvg(OneKind({}), {}, "t", {"s"}), HasSubstr("nothing was measured"));
  for (const auto& values : {std::vector<double>{0}, {0, 0, 5}, {7, 7, 7}, {1e-9, 1e9}}) {
    const std::string svg = LatencySvg(OneKind(values), {}, "t", {"s"});
    EXPECT_THAT(svg, Not(HasSubstr("nan")));
    EXPECT_THAT(svg, Not(HasSubstr("inf")));
  }
}

TEST(LatencySvgTest, DrawsTheLimitAndEscapesTexts) {
  GoodputLimits limits;
  limits.ttft_ms = 25;
  const std::string svg = LatencySvg(OneKind({10, 20, 40}), limits, "a <b> & \"c\"", {"s"});
  EXPECT_THAT(svg, HasSubstr("limit 25.0 ms"));
  EXPECT_THAT(svg, HasSubstr("a &lt;b&gt; &amp; &quot;c&quot;"));
  EXPECT_THAT(svg, HasSubstr("prefers-color-scheme: dark"));
  EXPECT_THAT(svg, Not(HasSubstr("<b>")));
}

std::string ReadFile(const std::filesystem::path& path) {
  std::ifstream file(path);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

size_t Files(const TempFolder& folder) {
  return static_cast<size_t>(std::distance(std::filesystem::directory_iterator(folder.path()), {}));
}

TEST(OutputFileTest, AppearsWhole) {
  const TempFolder folder;
  const std::filesystem::path path = folder.Write("out.json", "old");
  auto file = OutputFile::Open("--json", path.string());
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(ReadFile(path), "old");
  ASSERT_TRUE((*file)->Commit("new").ok());
  EXPECT_EQ(ReadFile(path), "new");
  file->reset();
  EXPECT_EQ(Files(folder), 1u);
}

TEST(OutputFileTest, LeavesNothingUncommitted) {
  const TempFolder folder;
  { ASSERT_TRUE(OutputFile::Open("--svg", (folder.path() / "out.svg").string()).ok()); }
  EXPECT_EQ(Files(folder), 0u);
}

TEST(OutputFileTest, WritesADeviceItself) {
  const TempFolder folder;
  const std::filesystem::path link = folder.path() / "full";
  std::filesystem::create_symlink("/dev/full", link);
  auto file = OutputFile::Open("--trace", link.string());
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_TRUE(absl::IsResourceExhausted((*file)->Commit("text")));
  EXPECT_TRUE(std::filesystem::is_symlink(link));
}

TEST(OutputFileTest, TellsAWrongPath) {
  const TempFolder folder;
  const auto message = [](const std::string& path) {
    return std::string(OutputFile::Open("--svg", path).status().message());
  };
  EXPECT_THAT(message("/no/folder/out.svg"),
              testing::AllOf(HasSubstr("--svg /no/folder"), HasSubstr("No such file")));
  EXPECT_THAT(message(folder.path().string()), HasSubstr("is a folder"));
}

}  // namespace
}  // namespace ternion
