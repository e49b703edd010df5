// Converted folders: the same bytes in memory as the source gives, whatever the packing; interruptions; digests.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <string>

#include "runtime/checkpoint/converted.h"
#include "tests/runtime/checkpoint/converted_parts.h"
#include "tests/support/temp_folder.h"

namespace ternion {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

const auto kNoProgress = [](double) {};

struct Case {
  std::string model;
  TernaryPacking packing;
  int tp;
  int pp;
};

class ConvertedTest : public testing::TestWithParam<Case> {};

TEST_P(ConvertedTest, HoldsWhatTheSourceGives) {
  const Case& one = GetParam();
  const TempFolder folder;
  const auto source = TinySource(one.model);
  ConvertOptions options = OptionsFor(*source, folder.path() / "made", one.tp, one.pp);
  options.packing = one.packing;
  const auto report = ConvertModel(*source, options, kNoProgress);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "made.partial"));
  const auto converted = OpenConverted(options.destination);
  ASSERT_TRUE(converted.ok()) << converted.status();
  for (int rank = 0; rank < one.tp * one.pp; ++rank) {
    SCOPED_TRACE(rank);
    const ProcessGrid grid{one.tp, one.pp, rank};
    const auto want = BuffersOf(*source, grid);
    const auto got = BuffersOf(**converted, grid);
    ASSERT_EQ(got.size(), want.size());
    for (const auto& [name, bytes] : want) EXPECT_TRUE(got.at(name) == bytes) << name;
  }
  EXPECT_TRUE(VerifyConverted(options.destination, kNoProgress).ok());
}

INSTANTIATE_TEST_SUITE_P(, ConvertedTest,
                         testing::Values(Case{"tiny-a4.8.json", TernaryPacking::kCpu, 1, 1},
                                         Case{"tiny-a4.8.json", TernaryPacking::kCpu, 2, 2},
                                         Case{"tiny-a4.8.json", TernaryPacking::kFiveTrits, 2, 1},
                                         Case{"tiny-silu.json", TernaryPacking::kCpu, 1, 2},
                                         Case{"tiny-silu.json", TernaryPacking::kFiveTrits, 1, 1},
                                         Case{"tiny-linear-norms.json", TernaryPacking::kCpu, 2, 1},
                                         Case{"tiny-int2.json", TernaryPacking::kCpu, 2, 1},
                                         Case{"tiny-dense.json", TernaryPacking::kCpu, 1, 2}));
INSTANTIATE_TEST_SUITE_P(OtherWriters, ConvertedTest,
                         testing::Values(Case{"models/bitnet_packed", TernaryPacking::kFiveTrits, 1, 1},
                                         Case{"models/bitnet158_1bitllm", TernaryPacking::kCpu, 1, 1},
                                         Case{"models/falcon_e", TernaryPacking::kCpu, 2, 1},
                                         Case{"models/trilm", TernaryPacking::kCpu, 1, 1},
                                         Case{"models/efficientqat_w2g64", TernaryPacking::kCpu, 1, 1},
                                         Case{"models/gptq_v2_w3g128", TernaryPacking::kCpu, 2, 1},
                                         Case{"models/gptq_v1_w4g128", TernaryPacking::kCpu, 1, 1},
                                         Case{"models/gptq_w4g128_qwen2", TernaryPacking::kCpu, 1, 1},
                                         Case{"models/dense_qwen2_bf16", TernaryPacking::kCpu, 1, 1},
                                         Case{"models/dense_llama_f16", TernaryPacking::kCpu, 2, 1}));

TEST(Converted, FiveTritsAreForTernaryWeights) {
  const TempFolder folder;
  const auto source = TinySource("models/efficientqat_w2g64");
  ConvertOptions options = OptionsFor(*source, folder.path() / "made", 1, 1);
  options.packing = TernaryPacking::kFiveTrits;
  EXPECT_THAT(std::string(ConvertModel(*source, options, kNoProgress).status().message()),
              HasSubstr("five-trits packs ternary weights"));
}

TEST(Converted, FiveTritsTakeLessRoom) {
  const TempFolder folder;
  const auto source = TinySource("tiny-a4.8.json");
  const auto bytes_of = [&](TernaryPacking packing) {
    ConvertOptions options = OptionsFor(*source, folder.path() / PackingName(packing), 1, 1);
    options.packing = packing;
    const auto report = *ConvertModel(*source, options, kNoProgress);
    int64_t bytes = 0;
    for (const WrittenTensor& tensor : report.manifest.ranks[0].tensors) {
      if (tensor.dtype != DType::kU8) continue;
      int64_t size = 1;
      for (const int64_t side : tensor.shape) size *= side;
      bytes += size;
    }
    return static_cast<double>(bytes);
  };
  EXPECT_LT(bytes_of(TernaryPacking::kFiveTrits), 0.82 * bytes_of(TernaryPacking::kCpu));
}

TEST(Converted, AnotherGridIsRefused) {
  const TempFolder folder;
  const auto source = TinySource("tiny-a4.8.json");
  const auto options = OptionsFor(*source, folder.path() / "made", 2, 1);
  ASSERT_TRUE(ConvertModel(*source, options, kNoProgress).ok());
  const auto converted = OpenConverted(options.destination);
  const auto backend = MakeCpuBackend(1);
  const absl::Status status = (*converted)->Load({1, 2, 0}, *backend, kNoProgress).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("made: was converted for tp 2, pp 1, not for tp 1, pp 2"));
}

TEST(Converted, ADestinationThatIsThereIsLeftAlone) {
  const TempFolder folder;
  const auto source = TinySource("tiny-a4.8.json");
  const auto options = OptionsFor(*source, folder.path(), 1, 1);
  const absl::Status status = ConvertModel(*source, options, kNoProgress).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kAlreadyExists);
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(Converted, AGridThatDoesNotFitIsRefused) {
  const TempFolder folder;
  const auto source = TinySource("tiny-a4.8.json");
  const auto status = ConvertModel(*source, OptionsFor(*source, folder.path() / "made", 1, 99), kNoProgress);
  EXPECT_EQ(status.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

// Fails while it makes one rank's weights, as a run that is interrupted.
class Interrupted final : public WeightSource {
 public:
  Interrupted(WeightSource& source, int rank) : source_(source), rank_(rank) {}
  const ModelConfig& config() const override { return source_.config(); }
  std::string Digest() const override { return source_.Digest(); }
  absl::StatusOr<StageWeights> LoadParts(const ProcessGrid& grid, Backend& backend, LoadProgress progress,
                                         PartTaker taker) override {
    int parts = 0;
    return source_.LoadParts(grid, backend, progress, [&](StageWeights& made) {
      if (grid.rank == rank_ && parts++ == 1) return absl::AbortedError("interrupted");
      return taker(made);
    });
  }

 private:
  WeightSource& source_;
  const int rank_;
};

TEST(Converted, WhatWasFinishedIsKept) {
  const TempFolder folder;
  const auto source = TinySource("tiny-a4.8.json");
  const auto options = OptionsFor(*source, folder.path() / "made", 2, 2);
  Interrupted interrupted(*source, 2);
  EXPECT_EQ(ConvertModel(interrupted, options, kNoProgress).status().code(), absl::StatusCode::kAborted);
  const std::filesystem::path partial = folder.path() / "made.partial";
  EXPECT_FALSE(std::filesystem::exists(options.destination));
  EXPECT_FALSE(IsConverted(partial));
  EXPECT_FALSE(std::filesystem::exists(partial / "config.json"));
  EXPECT_TRUE(std::filesystem::exists(partial / "rank-1-of-4.safetensors"));
  EXPECT_FALSE(std::filesystem::exists(partial / "rank-2-of-4.safetensors"));
  EXPECT_FALSE(std::filesystem::exists(partial / "rank-2-of-4.safetensors.tmp"));
  const auto report = ConvertModel(*source, options, kNoProgress);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->ranks_kept, 2);
  EXPECT_TRUE(VerifyConverted(options.destination, kNoProgress).ok());
  EXPECT_FALSE(std::filesystem::exists(options.destination / "rank-1-of-4.json"));
}

TEST(Converted, WhatAnotherModelLeftIsNotKept) {
  const TempFolder folder;
  const auto source = TinySource("tiny-a4.8.json"), other = TinySource("tiny-silu.json");
  Interrupted interrupted(*other, 1);
  ASSERT_FALSE(ConvertModel(interrupted, OptionsFor(*other, folder.path() / "made", 1, 2), kNoProgress).ok());
  const auto report = ConvertModel(*source, OptionsFor(*source, folder.path() / "made", 1, 1), kNoProgress);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->ranks_kept, 0);
  EXPECT_FALSE(std::filesystem::exists(folder.path() / "made" / "rank-0-of-2.safetensors"));
}

TEST(Converted, ARankWithoutVocabularyIsWhole) {
  const TempFolder folder;
  const auto source = TinySource("micro-a4.8.json");
  const auto options = OptionsFor(*source, folder.path() / "made", 2, 1);
  ASSERT_TRUE(ConvertModel(*source, options, kNoProgress).ok());
  const auto converted = OpenConverted(options.destination);
  ASSERT_TRUE(converted.ok()) << converted.status();
  for (int rank = 0; rank < 2; ++rank) {
    EXPECT_TRUE(BuffersOf(**converted, {2, 1, rank}) == BuffersOf(*source, {2, 1, rank})) << rank;
  }
}

TEST(Converted, VerifyNamesWhatWasChanged) {
  const TempFolder folder;
  const auto source = TinySource("tiny-a4.8.json");
  const auto options = OptionsFor(*source, folder.path() / "made", 1, 1);
  ASSERT_TRUE(ConvertModel(*source, options, kNoProgress).ok());
  const std::filesystem::path rank = options.destination / "rank-0-of-1.safetensors";
  std::string bytes = FileText(rank);
  const auto file = SafetensorsFile::Open(rank);
  const FileTensor* tensor = (*file)->Find("layers.1.up.ternary");
  ASSERT_NE(tensor, nullptr);
  const size_t at = tensor->data.data() - reinterpret_cast<const std::byte*>(tensor->file->bytes().data());
  bytes[at + tensor->data.size() / 2 + 100] ^= 1;  // not among the samples
  WriteText(rank, bytes);
  const absl::Status status = VerifyConverted(options.destination, kNoProgress);
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(status.message()), AllOf(HasSubstr("layers.1.up.ternary: has another SHA-256"),
                                                   testing::Not(HasSubstr("layers.1.gate"))));
  WriteText(options.destination / "config.json", source->config().text + " ");
  EXPECT_THAT(std::string(VerifyConverted(options.destination, kNoProgress).message()),
              HasSubstr("config.json: has another SHA-256"));
}

TEST(Converted, DigestsTellModelsApart) {
  const TempFolder folder;
  const auto source = TinySource("tiny-a4.8.json"), other = TinySource("tiny-silu.json");
  const auto digest = [&](WeightSource& from, const std::string& name, int tp) {
    const auto options = OptionsFor(from, folder.path() / name, tp, 1);
    EXPECT_TRUE(ConvertModel(from, options, kNoProgress).ok());
    return (*OpenConverted(options.destination))->Digest();
  };
  const std::string one = digest(*source, "a", 1);
  EXPECT_EQ(one.size(), 16u);
  EXPECT_EQ(digest(*source, "b", 1), one);
  EXPECT_NE(digest(*source, "c", 2), one);
  EXPECT_NE(digest(*other, "d", 1), one);
}

}  // namespace
}  // namespace ternion
