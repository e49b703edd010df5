// Broken ternion.json and rank files: each one clear error that names the file, and no crash.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "runtime/checkpoint/converted.h"
#include "runtime/checkpoint/digest.h"
#include "runtime/checkpoint/sha256.h"
#include "tests/runtime/checkpoint/converted_parts.h"
#include "tests/support/temp_folder.h"

namespace ternion {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

const auto kNoProgress = [](double) {};
constexpr char kRank[] = "rank-0-of-1.safetensors";

// A sound folder; tests break copies of its parts.
class HostileConverted : public testing::Test {
 protected:
  HostileConverted() : source_(TinySource("micro-a4.8.json")), made_(folder_.path() / "made") {
    EXPECT_TRUE(ConvertModel(*source_, OptionsFor(*source_, made_, 1, 1), kNoProgress).ok());
    manifest_ = json::parse(FileText(made_ / kManifestFile));
    rank_ = FileText(made_ / kRank);
  }

  // Opens and loads; the error names a file of the folder.
  std::string ErrorOfLoad() const {
    const auto opened = OpenConverted(made_);
    absl::Status status = opened.status();
    if (opened.ok()) {
      const auto backend = MakeCpuBackend(1);
      status = (*opened)->Load({}, *backend, kNoProgress).status();
    }
    EXPECT_THAT(std::string(status.message()), HasSubstr(made_.string()));
    EXPECT_EQ(status.message().find('\n'), absl::string_view::npos) << status;
    return std::string(status.message());
  }
  std::string ErrorOfManifest(const std::string& text) const {
    WriteText(made_ / kManifestFile, text);
    return ErrorOfLoad();
  }
  // With the digest that the changed contents have, so that the check behind it is what fails.
  std::string ErrorOf(const std::function<void(json&)>& change, bool sign = true) const {
    json changed = manifest_;
    change(changed);
    if (sign) {
      changed.erase("digest");
      json signed_again = changed;
      signed_again["digest"] = Sha256Of(changed.dump());
      changed = signed_again;
    }
    return ErrorOfManifest(changed.dump());
  }
  // The manifest is changed so that it fits the file.
  std::string ErrorOfRank(const std::string& bytes) const {
    WriteText(made_ / kRank, bytes);
    return ErrorOf([&](json& m) { m["ranks"][0]["bytes"] = bytes.size(); });
  }
  size_t DataAt(const std::string& tensor) const {
    const auto file = SafetensorsFile::Open(made_ / kRank);
    const FileTensor* found = (*file)->Find(tensor);
    return static_cast<size_t>(found->data.data() - found->file->bytes().data());
  }
  json& Tensor(json& m, const std::string& name) const {
    for (json& tensor : m["ranks"][0]["tensors"]) {
      if (tensor["name"] == name) return tensor;
    }
    ADD_FAILURE() << name;
    return m;
  }

  const TempFolder folder_;
  const std::unique_ptr<WeightSource> source_;
  const std::filesystem::path made_;
  json manifest_;
  std::string rank_;
};

TEST_F(HostileConverted, TheSoundFolderLoads) {
  WriteText(made_ / kManifestFile, manifest_.dump());
  const auto backend = MakeCpuBackend(1);
  EXPECT_TRUE((*OpenConverted(made_))->Load({}, *backend, kNoProgress).ok());
}

TEST_F(HostileConverted, ManifestsThatAreNone) {
  EXPECT_THAT(ErrorOfManifest(""), HasSubstr("ternion.json"));
  EXPECT_THAT(ErrorOfManifest("{"), HasSubstr("ternion.json"));
  EXPECT_THAT(ErrorOfManifest("[]"), HasSubstr("format must be a string"));
  EXPECT_THAT(ErrorOfManifest("null"), HasSubstr("format must be a string"));
  EXPECT_THAT(ErrorOfManifest(std::string(100000, '[')), HasSubstr("ternion.json"));
  EXPECT_THAT(ErrorOfManifest(manifest_.dump() + "}"), HasSubstr("ternion.json"));
  EXPECT_THAT(ErrorOfManifest(R"({"format": "ternion-converted", "version": 2, "version": 2})"),
              HasSubstr("ternion.json"));
}

struct Wrong {
  std::function<void(json&)> change;
  std::string error;
};

TEST_F(HostileConverted, ManifestsWithAWrongField) {
  const std::vector<Wrong> cases = {
      {[](json& m) { m["format"] = "other"; }, "format must be \"ternion-converted\""},
      {[](json& m) { m["version"] = 1; }, "is of version 1; this program reads 2"},
      {[](json& m) { m["version"] = -1; }, "version must be a whole number"},
      {[](json& m) { m["version"] = 1.5; }, "version must be a whole number"},
      {[](json& m) { m.erase("version"); }, "version must be a whole number"},
      {[](json& m) { m["packing"] = "rows"; }, "packing must be \"cpu\" or \"five-trits\""},
      {[](json& m) { m.erase("source"); }, "source must be an object"},
      {[](json& m) { m["source"] = 3; }, "source must be an object"},
      {[](json& m) { m["source"]["digest"] = "xyz"; }, "digest must be 16 hex digits"},
      {[](json& m) { m["tp"] = 0; }, "tp must be a whole number from 1"},
      {[](json& m) { m["tp"] = 1e300; }, "tp must be a whole number from 1"},
      {[](json& m) { m["tp"] = uint64_t{1} << 63; }, "tp must be a whole number from 1"},
      {[](json& m) { m["pp"] = "2"; }, "pp must be a whole number from 1"},
      {[](json& m) { m["pp"] = 2; }, "ranks has 1 entries; tp 1, pp 2 is 2"},
      {[](json& m) { m["tp"] = m["pp"] = 4096; }, "ranks has 1 entries"},
      {[](json& m) { m.erase("weights"); }, "weights must be an object"},
      {[](json& m) { m["weights"]["kind"] = "int8"; }, "kind must be \"ternary\", \"uniform\" or \"dense\""},
      {[](json& m) {
         m["weights"] = {{"kind", "dense"}, {"dtype", "BF16"}};
       },
       "has weights of another kind"},
      {[](json& m) {
         m["weights"] = {{"kind", "dense"}, {"dtype", "F32"}};
       },
       "dtype must be"},
      {[](json& m) {
         m["weights"] = {{"kind", "uniform"}, {"bits", 5}};
       },
       "bits must be a whole number from 2 to 4"},
      {[](json& m) {
         m["weights"] = {{"kind", "uniform"}, {"bits", 2}, {"group", 33}};
       },
       "a multiple of 32"}};
  for (const Wrong& wrong : cases) EXPECT_THAT(ErrorOf(wrong.change), HasSubstr(wrong.error));
  EXPECT_THAT(ErrorOf([](json& m) { m["tp"] = 2; }, /*sign=*/false), HasSubstr("its digest is not that of"));
  EXPECT_THAT(ErrorOf([](json& m) { m.erase("digest"); }, /*sign=*/false),
              HasSubstr("digest must be a string"));
}

TEST_F(HostileConverted, ManifestsOfWrongFiles) {
  const std::string sha(64, 'a');
  const std::vector<Wrong> cases = {
      {[](json& m) { m["ranks"] = json::object(); }, "ranks must be a list"},
      {[](json& m) { m["ranks"] = json::array(); }, "ranks has 0 entries"},
      {[](json& m) { m["ranks"][0] = 1; }, "ranks[0]: file must be a string"},
      {[](json& m) { m["ranks"][0]["file"] = "../x"; }, "file must be the name of a file in the same folder"},
      {[](json& m) { m["ranks"][0]["file"] = ""; }, "file must be the name of a file in the same folder"},
      {[](json& m) { m["ranks"][0]["file"] = std::string("a\0b", 3); }, "file must be the name of a file"},
      {[](json& m) { m["ranks"][0]["file"] = "none.safetensors"; }, "none.safetensors: cannot open"},
      {[](json& m) { m["ranks"][0]["bytes"] = 0; }, "bytes must be a whole number"},
      {[](json& m) { m["ranks"][0]["bytes"] = uint64_t{1} << 60; }, "bytes must be a whole number"},
      {[](json& m) { m["ranks"][0]["bytes"] = 4096; }, "bytes, not 4096, unlike what ternion.json says"},
      {[](json& m) { m["ranks"][0]["samples"] = std::string(16, '0'); }, "has other weights"},
      {[](json& m) { m["ranks"][0]["samples"] = nullptr; }, "samples must be a string"},
      {[](json& m) { m["ranks"][0]["tensors"] = 7; }, "tensors must be a list"},
      {[](json& m) { m["ranks"][0]["tensors"][0] = json::array(); }, "tensors[0]: name must be a string"},
      {[](json& m) { m["ranks"][0]["tensors"][0]["name"] = "other"; }, "has no tensor other"},
      {[](json& m) { m["ranks"][0]["tensors"][0]["dtype"] = "F8"; }, "dtype must be U8, BF16, F16 or F32"},
      {[](json& m) { m["ranks"][0]["tensors"][0]["dtype"] = "F32"; }, "has embedding as BF16"},
      {[](json& m) { m["ranks"][0]["tensors"][0]["shape"] = json::array(); }, "shape must be one to four"},
      {[](json& m) {
         m["ranks"][0]["tensors"][0]["shape"] = {-1, 2};
       },
       "shape must be one to four"},
      {[](json& m) {
         m["ranks"][0]["tensors"][0]["shape"] = {1e30, 2};
       },
       "shape must be one to four"},
      {[](json& m) {
         m["ranks"][0]["tensors"][0]["shape"] = {1, 1};
       },
       "has embedding as BF16"},
      {[](json& m) {
         m["ranks"][0]["tensors"][0]["shape"] = {1, 1, 1, 1, 1};
       },
       "shape must be one to four"},
      {[](json& m) { m["ranks"][0]["tensors"][0]["sha256"] = "0"; }, "sha256 must be 64 hex digits"},
      {[](json& m) { m["files"] = false; }, "files must be a list"},
      {[](json& m) { m["files"][0]["name"] = "/etc/passwd"; }, "name must be the name of a file"},
      {[](json& m) { m["files"][0]["bytes"] = -5; }, "bytes must be a whole number"},
      {[&](json& m) { m["files"][0]["sha256"] = sha + "a"; }, "sha256 must be 64 hex digits"}};
  for (const Wrong& wrong : cases) EXPECT_THAT(ErrorOf(wrong.change), HasSubstr(wrong.error));
}

TEST_F(HostileConverted, RankFilesThatAreNone) {
  EXPECT_THAT(ErrorOfRank(rank_.substr(0, 5)), HasSubstr("a safetensors file has at least 8"));
  EXPECT_THAT(ErrorOfRank(rank_.substr(0, rank_.size() - 1)), HasSubstr("lie outside the"));
  EXPECT_THAT(ErrorOfRank(rank_ + "x"), HasSubstr("but its tensors end at"));
  EXPECT_THAT(ErrorOfRank(std::string(8, '\xff') + rank_.substr(8)), HasSubstr("gives its header"));
  EXPECT_THAT(ErrorOfRank(std::string(rank_.size(), '\0')), HasSubstr("not a JSON object"));
  WriteText(made_ / kRank, rank_);
  EXPECT_THAT(ErrorOf([](json& m) { m["ranks"][0]["bytes"] = 1; }), HasSubstr("bytes, not 1"));
  std::filesystem::remove(made_ / kRank);
  EXPECT_THAT(ErrorOf([](json&) {}), HasSubstr("cannot open"));
  std::filesystem::create_directory(made_ / kRank);
  EXPECT_THAT(ErrorOf([](json&) {}), HasSubstr("is not a plain file"));
}

TEST_F(HostileConverted, HeadersThatFitNoModel) {
  const auto renamed = [&](const std::string& from, const std::string& to) {
    std::string bytes = rank_;
    for (size_t at; (at = bytes.find('"' + from + '"')) != std::string::npos;) {
      bytes.replace(at + 1, from.size(), to);
    }
    WriteText(made_ / kRank, bytes);
    return ErrorOf([&](json& m) { Tensor(m, from)["name"] = to; });
  };
  EXPECT_THAT(renamed("final_norm", "final_morn"),
              HasSubstr("has no tensor final_norm, which the model of its config.json has"));
  EXPECT_THAT(renamed("layers.0.o.ternary", "layers.9.o.ternary"),
              HasSubstr("has no tensor layers.0.o.ternary"));
}

// A config.json with other sides than the weights'.
TEST_F(HostileConverted, AConfigOfAnotherModel) {
  WriteText(made_ / kManifestFile, manifest_.dump());
  const auto error_with = [&](const char* field, const json& value) {
    json config = json::parse(source_->config().text);
    config[field] = value;
    WriteText(made_ / "config.json", config.dump());
    return ErrorOfLoad();
  };
  const int64_t ffn = source_->config().shape.ffn;
  EXPECT_THAT(error_with("intermediate_size", 2 * ffn), HasSubstr("the model of its config.json has"));
  EXPECT_THAT(error_with("num_hidden_layers", source_->config().shape.layers + 1),
              HasSubstr("which the model of its config.json has"));
  EXPECT_THAT(error_with("vocab_size", source_->config().shape.vocab * 2),
              HasSubstr("tensor embedding: is BF16"));
  EXPECT_THAT(error_with("hidden_size", "x"), HasSubstr("hidden_size"));
  std::filesystem::remove(made_ / "config.json");
  EXPECT_THAT(ErrorOfLoad(), HasSubstr("config.json: cannot open"));
}

TEST_F(HostileConverted, ValuesThatAreNone) {
  const auto error_with = [&](const std::string& tensor, size_t offset, const std::string& bytes) {
    WriteText(made_ / kRank, rank_);
    const size_t at = DataAt(tensor) + offset;
    std::string changed = rank_;
    changed.replace(at, bytes.size(), bytes);
    WriteText(made_ / kRank, changed);
    // What a careless writer's manifest would say.
    RankFile known = ReadFolderManifest(made_)->ranks[0];
    std::string samples;
    const auto file = SafetensorsFile::Open(made_ / kRank);
    for (const WrittenTensor& one : known.tensors) AppendSamples((*file)->Find(one.name)->data, samples);
    return ErrorOf([&](json& m) { m["ranks"][0]["samples"] = HexDigest(samples); });
  };
  EXPECT_THAT(error_with("final_norm", 4, std::string("\x00\x00\xc0\x7f", 4)),
              HasSubstr("tensor final_norm: has a value that is not finite"));
  EXPECT_THAT(error_with("layers.0.qkv.scale", 0, std::string("\x00\x00\x80\x7f", 4)),
              HasSubstr("tensor layers.0.qkv.scale: has a value that is not finite"));
  EXPECT_THAT(error_with("layers.0.down.ternary", 40, "\xff"),
              HasSubstr("tensor layers.0.down.ternary: holds the code 3"));
}

TEST(HostileFiveTrits, BytesThatAreNoTrits) {
  const TempFolder folder;
  const auto source = TinySource("micro-a4.8.json");
  ConvertOptions options = OptionsFor(*source, folder.path() / "made", 1, 1);
  options.packing = TernaryPacking::kFiveTrits;
  ASSERT_TRUE(ConvertModel(*source, options, kNoProgress).ok());
  const std::filesystem::path path = options.destination / kRank;
  std::string bytes = FileText(path);
  {
    const auto file = SafetensorsFile::Open(path);
    const FileTensor* tensor = (*file)->Find("layers.0.up.ternary");
    // Not among the samples.
    bytes[tensor->data.data() - tensor->file->bytes().data() + tensor->data.size() / 2 + 70] = '\xfe';
  }
  WriteText(path, bytes);
  const auto backend = MakeCpuBackend(1);
  const auto status = (*OpenConverted(options.destination))->Load({}, *backend, kNoProgress).status();
  EXPECT_THAT(std::string(status.message()), HasSubstr("layers.0.up.ternary: "));
}

// Every byte of the manifest, one after the other: no crash, and never a model that says something else.
TEST_F(HostileConverted, AnyByteOfTheManifest) {
  const std::string text = FileText(made_ / kManifestFile);
  const ConvertedManifest sound = *ConvertedManifest::Parse(text, "sound");
  for (size_t at = 0; at < text.size(); at += 3) {
    std::string changed = text;
    changed[at] = static_cast<char>(changed[at] ^ (1 + at % 7));
    const auto parsed = ConvertedManifest::Parse(changed, "changed");
    EXPECT_TRUE(!parsed.ok() || *parsed == sound) << at;
  }
}

}  // namespace
}  // namespace ternion
