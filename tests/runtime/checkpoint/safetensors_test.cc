#include "runtime/checkpoint/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/runtime/checkpoint/checkpoint_writer.h"
#include "tests/support/temp_folder.h"

namespace ternion {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

std::string Entry(const std::string& name, const std::string& dtype, const std::string& shape,
                  const std::string& offsets) {
  return absl::StrCat("\"", name, "\": {\"dtype\": \"", dtype, "\", \"shape\": ", shape,
                      ", \"data_offsets\": ", offsets, "}");
}

class SafetensorsTest : public ::testing::Test {
 protected:
  void ExpectRefused(const std::string& bytes, const std::string& why) {
    const auto path = folder_.Write("bad.safetensors", bytes);
    const auto file = SafetensorsFile::Open(path);
    ASSERT_FALSE(file.ok()) << why;
    EXPECT_EQ(file.status().code(), absl::StatusCode::kDataLoss) << file.status();
    EXPECT_THAT(std::string(file.status().message()), AllOf(HasSubstr(path.string()), HasSubstr(why)));
  }

  TempFolder folder_;
};

TEST_F(SafetensorsTest, ReadsEveryTensorWhereItLies) {
  const TestTensors tensors = {{"b", F32Tensor({2, 3}, {1, 2, 3, 4, 5, 6})},
                               {"a", {"I64", {2}, std::string("0123456789abcdef")}},
                               {"scalar", {"I8", {}, "x"}},
                               {"empty", {"U8", {0, 5}, ""}}};
  const auto file = SafetensorsFile::Open(folder_.Write("good.safetensors", SafetensorsBytes(tensors)));
  ASSERT_TRUE(file.ok()) << file.status();
  ASSERT_EQ((*file)->tensors().size(), tensors.size());
  for (const auto& [name, expected] : tensors) {
    const FileTensor* tensor = (*file)->Find(name);
    ASSERT_NE(tensor, nullptr) << name;
    EXPECT_EQ(DTypeName(tensor->dtype), expected.dtype);
    EXPECT_EQ(tensor->shape, expected.shape);
    EXPECT_EQ(std::string(reinterpret_cast<const char*>(tensor->data.data()), tensor->data.size()),
              expected.bytes);
  }
  EXPECT_EQ((*file)->Find("c"), nullptr);
  EXPECT_EQ((*file)->Find("b")->Form(), "F32 [2, 3]");
  EXPECT_EQ((*file)->Find("b")->size(), 6);
}

TEST_F(SafetensorsTest, BytesSurviveTheReleaseOfTheirPages) {
  const std::string content(100'000, 'q');
  const auto file = *SafetensorsFile::Open(
      folder_.Write("f.safetensors", SafetensorsBytes({{"t", {"U8", {100'000}, content}}})));
  const FileTensor* tensor = file->Find("t");
  tensor->file->Release(tensor->data);
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(tensor->data.data()), tensor->data.size()), content);
}

TEST_F(SafetensorsTest, RefusesFilesThatAreCutShort) {
  const std::string whole = SafetensorsBytes({{"t", F32Tensor({4}, {1, 2, 3, 4})}});
  ExpectRefused("", "has 0 bytes");
  ExpectRefused(whole.substr(0, 7), "has 7 bytes");
  ExpectRefused(whole.substr(0, 30), "gives its header");
  ExpectRefused(whole.substr(0, whole.size() - 1),
                "tensor t: its data_offsets [0, 16] lie outside the 15 bytes");
  ExpectRefused(whole + "x", "has 17 bytes of data, but its tensors end at 16");
}

TEST_F(SafetensorsTest, RefusesHeaderLengthsThatLie) {
  std::string file = SafetensorsBytes({{"t", F32Tensor({1}, {1})}});
  uint64_t length = 0;
  std::memcpy(&length, file.data(), 8);
  for (const uint64_t wrong :
       {uint64_t{0}, length - 1, length + 1, length + 5, uint64_t{1} << 40, UINT64_MAX}) {
    std::memcpy(file.data(), &wrong, 8);
    const auto opened = SafetensorsFile::Open(folder_.Write("bad.safetensors", file));
    ASSERT_FALSE(opened.ok()) << wrong;
    EXPECT_EQ(opened.status().code(), absl::StatusCode::kDataLoss);
  }
}

TEST_F(SafetensorsTest, RefusesHeadersOverTheLimit) {
  std::string file(8, '\0');
  const uint64_t length = 100'000'001;
  std::memcpy(file.data(), &length, 8);
  const auto path = folder_.Write("bad.safetensors", file);
  std::filesystem::resize_file(path, 8 + length + 8);
  const auto opened = SafetensorsFile::Open(path);
  ASSERT_FALSE(opened.ok());
  EXPECT_THAT(std::string(opened.status().message()), HasSubstr("at most 100000000"));
}

TEST_F(SafetensorsTest, RefusesHeadersThatAreNoObjectOfTensors) {
  ExpectRefused(WithHeader("[]", ""), "not a JSON object");
  ExpectRefused(WithHeader(" {}", ""), "not a JSON object");
  ExpectRefused(WithHeader("{\"a\": 1}", ""), "tensor a: its entry in the header is not an object");
  ExpectRefused(WithHeader("{\"a\": ", ""), "not valid JSON");
  ExpectRefused(WithHeader("{\"a\": {\"dtype\": \"U8\", \"shape\": [0]}}", ""), "data_offsets is missing");
  ExpectRefused(WithHeader(R"({"a": {"dtype": "U8", "shape": [0], "data_offsets": [0, 0], "x": 1}})", ""),
                "a field beside");
  ExpectRefused(WithHeader(std::string(100, '{'), ""), "not valid JSON");
  ExpectRefused(WithHeader(R"({"a": )" + std::string(100, '['), ""), "nested deeper");
}

TEST_F(SafetensorsTest, RefusesATensorThatIsThereTwice) {
  const std::string twice =
      absl::StrCat("{", Entry("a", "U8", "[1]", "[0, 1]"), ", ", Entry("a", "U8", "[1]", "[1, 2]"), "}");
  ExpectRefused(WithHeader(twice, "xy"), "\"a\" occurs twice");
}

TEST_F(SafetensorsTest, RefusesGapsAndOverlaps) {
  const auto pair = [](const std::string& a, const std::string& b) {
    return absl::StrCat("{", Entry("a", "U8", "[2]", a), ", ", Entry("b", "U8", "[2]", b), "}");
  };
  ASSERT_TRUE(SafetensorsFile::Open(folder_.Write("f", WithHeader(pair("[2, 4]", "[0, 2]"), "wxyz"))).ok());
  ExpectRefused(WithHeader(pair("[0, 2]", "[3, 5]"), "vwxyz"), "tensor b: its bytes begin at 3");
  ExpectRefused(WithHeader(pair("[0, 2]", "[1, 3]"), "xyz"), "tensor b: its bytes begin at 1");
  ExpectRefused(WithHeader(pair("[0, 2]", "[0, 2]"), "xy"), "its bytes begin at 0");
  ExpectRefused(WithHeader(pair("[1, 3]", "[3, 5]"), "vwxyz"), "tensor a: its bytes begin at 1");
}

TEST_F(SafetensorsTest, RefusesShapesThatDoNotFitTheirBytes) {
  const auto one = [](const std::string& dtype, const std::string& shape, const std::string& offsets) {
    return WithHeader(absl::StrCat("{", Entry("a", dtype, shape, offsets), "}"), "wxyz");
  };
  ExpectRefused(one("F32", "[2]", "[0, 4]"), "hold 4 bytes, but F32 [2] takes 8");
  ExpectRefused(one("BF16", "[1, 1]", "[0, 4]"), "hold 4 bytes, but BF16 [1, 1] takes 2");
  ExpectRefused(one("U8", "[4]", "[4, 0]"), "lie outside");
  ExpectRefused(one("F64", "[1]", "[0, 8]"), "its dtype is F64");
  ExpectRefused(one("U8", "[-4]", "[0, 4]"), "other than counts");
  ExpectRefused(one("U8", "[4.0]", "[0, 4]"), "other than counts");
  ExpectRefused(one("U8", "4", "[0, 4]"), "its shape is not a list");
  ExpectRefused(one("U8", "[4]", "[0, 4, 4]"), "not two counts");
  ExpectRefused(one("U8", "[4]", "[-1, 3]"), "not two counts");
  // 2^32 * 2^32 * 4 bytes is 0 modulo 2^64.
  ExpectRefused(one("F32", "[4294967296, 4294967296]", "[0, 0]"), "overflows");
}

TEST_F(SafetensorsTest, NamesAFileThatCannotBeRead) {
  const auto missing = SafetensorsFile::Open(folder_.path() / "none.safetensors");
  EXPECT_EQ(missing.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(missing.status().message()), HasSubstr("none.safetensors: cannot open"));
  const auto a_folder = SafetensorsFile::Open(folder_.path());
  EXPECT_EQ(a_folder.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(a_folder.status().message()), HasSubstr("is not a plain file"));
}

}  // namespace
}  // namespace ternion
