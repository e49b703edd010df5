#include "runtime/checkpoint/gguf.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/runtime/checkpoint/gguf_writer.h"
#include "tests/runtime/checkpoint/sound_gguf.h"
#include "tests/support/temp_folder.h"

namespace ternion {
namespace {

using ::testing::ElementsAre;
using ::testing::StartsWith;

TEST(Gguf, ReadsWhatIsThere) {
  const std::string bytes = SoundGguf().Bytes();
  const absl::StatusOr<Gguf> gguf = Gguf::Parse(AsBytes(bytes), "model.gguf");
  ASSERT_TRUE(gguf.ok()) << gguf.status();
  const GgufMetadata& metadata = gguf->metadata();
  EXPECT_EQ(metadata.values()["general.architecture"], "llama");
  EXPECT_EQ(metadata.values()["llama.block_count"], 1);
  EXPECT_EQ(metadata.values()["tokenizer.ggml.add_bos_token"], true);
  EXPECT_EQ(metadata.values()["llama.attention.layer_norm_rms_epsilon"], 1e-5f);
  EXPECT_THAT(*metadata.Strings("tokenizer.ggml.merges"), ElementsAre("a b", "ab c"));
  EXPECT_THAT(*metadata.Ints("tokenizer.ggml.token_type"), ElementsAre(1, 1, 1, 1, 1, 3, 3, 5));
  EXPECT_EQ(GgufChatTemplate(*gguf), "{{ messages }}");

  ASSERT_EQ(gguf->tensors().size(), 4u);
  const GgufTensor* query = gguf->Find("blk.0.attn_q.weight");
  ASSERT_NE(query, nullptr);
  EXPECT_EQ(query->Form(), "I2_S [128, 128]");
  EXPECT_EQ(query->data.size(), 4096u + 32);
  EXPECT_EQ(*GgufScale(*gguf, *query), 0.5f);
  EXPECT_EQ(gguf->Find("token_embd.weight")->Form(), "F16 [8, 128]");
  EXPECT_EQ(gguf->Find("blk.0.attn_q.scale")->Form(), "F32 []");
  EXPECT_EQ(gguf->Where(*query), "model.gguf: tensor blk.0.attn_q.weight");
  EXPECT_EQ(gguf->Find("blk.0"), nullptr);
  EXPECT_TRUE(ReadAllOfGguf(bytes).ok()) << ReadAllOfGguf(bytes);
}

TEST(Gguf, ReadsOtherFormsOfTheSame) {
  GgufTestFile file = SoundGguf();
  file.version = 2;
  EXPECT_TRUE(ReadAllOfGguf(file.Bytes()).ok());
  file.alignment = 4096;
  file.Key("general.alignment") = GgufU32(4096);
  EXPECT_TRUE(ReadAllOfGguf(file.Bytes()).ok()) << ReadAllOfGguf(file.Bytes());
  std::string without_padding = SoundGguf().Bytes();
  without_padding.resize(without_padding.size() - 28);  // behind the last tensor, a float32
  EXPECT_TRUE(ReadAllOfGguf(without_padding).ok());
  file.tensors.clear();  // of a vocabulary alone
  const std::string vocabulary = file.Bytes();
  EXPECT_TRUE(Gguf::Parse(AsBytes(vocabulary), "model.gguf").ok());
}

TEST(Gguf, EveryTypeOfValue) {
  GgufTestFile file;
  file.keys = {{"u8", GgufNumber<uint32_t>(0) + GgufNumber<uint8_t>(200)},
               {"i8", GgufNumber<uint32_t>(1) + GgufNumber<int8_t>(-100)},
               {"u16", GgufNumber<uint32_t>(2) + GgufNumber<uint16_t>(60000)},
               {"i16", GgufNumber<uint32_t>(3) + GgufNumber<int16_t>(-30000)},
               {"u32", GgufU32(4000000000)},
               {"i32", GgufNumber<uint32_t>(5) + GgufNumber<int32_t>(-2000000000)},
               {"f32", GgufF32(-1.5f)},
               {"bool", GgufBool(0)},
               {"string", GgufText("\u00e4")},
               {"u64", GgufNumber<uint32_t>(10) + GgufNumber<uint64_t>(UINT64_MAX)},
               {"i64", GgufNumber<uint32_t>(11) + GgufNumber<int64_t>(INT64_MIN)},
               {"f64", GgufNumber<uint32_t>(12) + GgufNumber<double>(1e300)},
               {"list", GgufArray(2, 3, std::string(6, '\1'))}};
  const std::string bytes = file.Bytes();
  const absl::StatusOr<Gguf> gguf = Gguf::Parse(AsBytes(bytes), "model.gguf");
  ASSERT_TRUE(gguf.ok()) << gguf.status();
  const nlohmann::json want = {{"u8", 200},
                               {"i8", -100},
                               {"u16", 60000},
                               {"i16", -30000},
                               {"u32", 4000000000},
                               {"f32", -1.5},
                               {"bool", false},
                               {"string", "\u00e4"},
                               {"u64", UINT64_MAX},
                               {"f64", 1e300},
                               {"i64", INT64_MIN},
                               {"i32", -2000000000},
                               {"list", {"array of 3 u16"}}};
  EXPECT_EQ(gguf->metadata().values(), want);
}

TEST(GgufFile, NamesTheFileInErrors) {
  const TempFolder folder;
  const auto path = folder.Write("broken.gguf", "GGUFx");
  EXPECT_THAT(std::string(GgufFile::Open(path).status().message()),
              StartsWith(path.string() + ": header: the file is cut"));
  const auto empty = folder.Write("empty.gguf", "");
  EXPECT_THAT(std::string(GgufFile::Open(empty).status().message()), StartsWith(empty.string()));
}

}  // namespace
}  // namespace ternion
