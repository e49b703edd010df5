#include "runtime/checkpoint/tensor_index.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/runtime/checkpoint/checkpoint_writer.h"
#include "tests/support/temp_folder.h"

namespace ternion {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class TensorIndexTest : public ::testing::Test {
 protected:
  void WriteIndex(const nlohmann::json& weight_map) {
    folder_.Write("model.safetensors.index.json", nlohmann::json{{"weight_map", weight_map}}.dump());
  }
  void WriteShards() {
    folder_.Write("s1.safetensors",
                  SafetensorsBytes({{"a", F32Tensor({1}, {1})}, {"b", F32Tensor({1}, {2})}}));
    folder_.Write("s2.safetensors", SafetensorsBytes({{"c", F32Tensor({1}, {3})}}));
  }
  void ExpectRefused(absl::StatusCode code, const std::string& where, const std::string& why) {
    const auto index = TensorIndex::Open(folder_.path());
    ASSERT_FALSE(index.ok()) << why;
    EXPECT_EQ(index.status().code(), code) << index.status();
    EXPECT_THAT(std::string(index.status().message()),
                AllOf(HasSubstr(folder_.path().string()), HasSubstr(where), HasSubstr(why)));
  }

  TempFolder folder_;
};

TEST_F(TensorIndexTest, FindsTheTensorsOfAllShards) {
  WriteShards();
  WriteIndex({{"a", "s1.safetensors"}, {"b", "s1.safetensors"}, {"c", "s2.safetensors"}});
  const auto index = TensorIndex::Open(folder_.path());
  ASSERT_TRUE(index.ok()) << index.status();
  EXPECT_EQ(index->tensors().size(), 3u);
  EXPECT_EQ(index->Find("c")->file->path().filename(), "s2.safetensors");
  EXPECT_EQ(index->Find("d"), nullptr);
  EXPECT_EQ(index->Get("d").status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(index->Get("d").status().message(), folder_.path().string() + ": has no tensor d");
}

TEST_F(TensorIndexTest, ReadsASingleFileBeforeAnIndex) {
  WriteIndex({{"a", "missing.safetensors"}});
  folder_.Write("model.safetensors", SafetensorsBytes({{"a", F32Tensor({1}, {1})}}));
  const auto index = TensorIndex::Open(folder_.path());
  ASSERT_TRUE(index.ok()) << index.status();
  EXPECT_NE(index->Find("a"), nullptr);
  EXPECT_THAT(std::string(index->Get("b").status().message()),
              HasSubstr("model.safetensors: has no tensor b"));
}

TEST_F(TensorIndexTest, RefusesAFolderWithoutWeights) {
  ExpectRefused(absl::StatusCode::kNotFound, "",
                "neither model.safetensors nor model.safetensors.index.json");
}

TEST_F(TensorIndexTest, RefusesAMissingShard) {
  WriteShards();
  WriteIndex({{"a", "s1.safetensors"}, {"d", "s3.safetensors"}});
  ExpectRefused(absl::StatusCode::kNotFound, "s3.safetensors", "index.json lists");
}

TEST_F(TensorIndexTest, RefusesATensorThatItsShardLacks) {
  WriteShards();
  WriteIndex({{"a", "s2.safetensors"}});
  ExpectRefused(absl::StatusCode::kNotFound, "s2.safetensors", "has no tensor a");
}

TEST_F(TensorIndexTest, RefusesAMalformedShard) {
  WriteShards();
  folder_.Write("s2.safetensors", "short");
  WriteIndex({{"a", "s1.safetensors"}, {"c", "s2.safetensors"}});
  ExpectRefused(absl::StatusCode::kDataLoss, "s2.safetensors", "has 5 bytes");
}

TEST_F(TensorIndexTest, RefusesPathsOutOfTheFolder) {
  WriteShards();
  for (const char* path : {"../s1.safetensors", "/etc/passwd", "sub/s1.safetensors", "..", "."}) {
    WriteIndex({{"a", path}});
    ExpectRefused(absl::StatusCode::kInvalidArgument, "model.safetensors.index.json", path);
  }
}

TEST_F(TensorIndexTest, RefusesMalformedIndexes) {
  WriteShards();
  const std::string file = "model.safetensors.index.json";
  WriteIndex({{"a", 1}});
  ExpectRefused(absl::StatusCode::kInvalidArgument, file, "a is in 1");
  WriteIndex(nlohmann::json::array());
  ExpectRefused(absl::StatusCode::kInvalidArgument, file, "weight_map is []");
  folder_.Write(file, "{}");
  ExpectRefused(absl::StatusCode::kInvalidArgument, file, "weight_map is missing");
  folder_.Write(file, "{");
  ExpectRefused(absl::StatusCode::kInvalidArgument, file, "not valid JSON");
}

}  // namespace
}  // namespace ternion
