// `ternion convert`: what it makes is served with the same bits; interruptions, changed bytes and other grids are noticed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/runtime/checkpoint/demo_gguf.h"
#include "tests/support/program.h"
#include "tests/support/temp_folder.h"

namespace ternion {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr int kBadArguments = 2;
constexpr int kBadModel = 3;
constexpr char kPrompt[] = "The std::vector class template";

std::vector<std::string> Generate(const std::string& model) {
  return {"generate", model, "--max-tokens=24", "--ignore-eos", "--prompt", kPrompt};
}

void Convert(const std::string& from, const std::filesystem::path& to,
             const std::vector<std::string>& options = {}) {
  std::vector<std::string> arguments = {"convert", from, to.string()};
  arguments.insert(arguments.end(), options.begin(), options.end());
  const ProgramResult result = RunProgram(1, arguments);
  ASSERT_EQ(result.exit_status, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("digest "));
}

void ExpectSame(const nlohmann::json& got, const nlohmann::json& want) {
  for (const char* field : {"prompt_ids", "ids", "text", "logits_hash"}) {
    EXPECT_EQ(got[field], want[field]) << field;
  }
}

TEST(ConvertTest, GeneratesWhatTheSourceDoes) {
  const TempFolder folder;
  const nlohmann::json want = RunForJson(1, 1, Generate(DemoModel()));
  ASSERT_EQ(want["ids"].size(), 24u);
  Convert(DemoModel(), folder.path() / "one");
  ExpectSame(RunForJson(1, 1, Generate(folder.path() / "one")), want);
  Convert(DemoModel(), folder.path() / "four", {"--tp=2", "--pp=2"});
  ExpectSame(RunForJson(2, 2, Generate(folder.path() / "four")), want);
  Convert(DemoModel(), folder.path() / "five", {"--tp=2", "--packing=five-trits"});
  ExpectSame(RunForJson(2, 1, Generate(folder.path() / "five")), want);
}

TEST(ConvertTest, AGgufFileStaysTheSameModel) {
  const TempFolder folder;
  const std::string file = folder.Write("demo-model.gguf", DemoGguf().Bytes());
  Convert(file, folder.path() / "made");
  ExpectSame(RunForJson(1, 1, Generate(folder.path() / "made")), RunForJson(1, 1, Generate(file)));
}

TEST(ConvertTest, TheGridIsTheFoldersOwn) {
  const TempFolder folder;
  const std::string made = folder.path() / "made";
  Convert(DemoModel(), made, {"--tp=2"});
  std::vector<std::string> generate = Generate(made);
  generate.emplace_back("--threads=1");
  const ProgramResult as_made = RunProgram(2, generate);
  EXPECT_EQ(as_made.exit_status, 0) << as_made.err;
  EXPECT_EQ(RunProgram(1, generate).exit_status, kBadArguments);
  generate.emplace_back("--tp=1");
  const ProgramResult other = RunProgram(1, generate);
  EXPECT_EQ(other.exit_status, kBadArguments);
  EXPECT_THAT(other.err, HasSubstr("made: was converted for tp 2, pp 1, and --tp 1 --pp 1 asks for another"));
}

TEST(ConvertTest, VerifyFindsAChangedByte) {
  const TempFolder folder;
  const std::filesystem::path made = folder.path() / "made";
  Convert(DemoModel(), made);
  const ProgramResult sound = RunProgram(1, {"convert", "--verify", made.string()});
  EXPECT_EQ(sound.exit_status, 0) << sound.err;
  EXPECT_THAT(sound.out, HasSubstr("have the SHA-256 they had"));
  {
    std::fstream file(made / "rank-0-of-1.safetensors", std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(3'000'001);
    const char byte = static_cast<char>(file.get() ^ 1);
    file.seekp(3'000'001);
    file.put(byte);
  }
  const ProgramResult changed = RunProgram(1, {"convert", "--verify", made.string()});
  EXPECT_EQ(changed.exit_status, kBadModel);
  EXPECT_THAT(changed.err,
              AllOf(HasSubstr("rank-0-of-1.safetensors: tensor "), HasSubstr("another SHA-256")));
}

// A model of eight ranks, killed once two are finished.
TEST(ConvertTest, AKilledRunIsTakenUpAgain) {
  const TempFolder folder;
  nlohmann::json config = nlohmann::json::parse(ReadSource("configs/demo/config.json"));
  config["num_hidden_layers"] = 32;
  config["intermediate_size"] = 8192;
  config["hidden_size"] = 1024;
  const std::string shape = folder.Write("shape.json", config.dump());
  const std::filesystem::path made = folder.path() / "made", partial = folder.path() / "made.partial";
  const std::vector<std::string> convert = {"convert", "--synthetic=" + shape, made.string(), "--pp=8"};
  const auto killed = StartProgram(1, convert);
  const auto end = std::chrono::steady_clock::now() + kRunLimit;
  while (!std::filesystem::exists(partial / "rank-1-of-8.json") && std::chrono::steady_clock::now() < end) {
    ASSERT_FALSE(std::filesystem::exists(made)) << "it was done before it was killed";
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  killed->Kill();
  ASSERT_FALSE(std::filesystem::exists(made));
  const ProgramResult half = RunProgram(1, {"generate", partial.string(), "--ids=1", "--max-tokens=1"});
  EXPECT_EQ(half.exit_status, kBadModel) << half.err;
  const ProgramResult again = RunProgram(1, convert);
  ASSERT_EQ(again.exit_status, 0) << again.err;
  EXPECT_THAT(again.out, HasSubstr("of 8 ranks were finished by an earlier run"));
  EXPECT_FALSE(std::filesystem::exists(partial));
  EXPECT_EQ(RunProgram(1, {"convert", "--verify", made.string()}).exit_status, 0);
}

TEST(ConvertTest, WhatIsWrongIsOneLine) {
  const TempFolder folder;
  const auto fails = [](const std::vector<std::string>& arguments, int status, const char* error) {
    const ProgramResult result = RunProgram(1, arguments);
    EXPECT_EQ(result.exit_status, status) << error;
    EXPECT_THAT(result.err, HasSubstr(error));
    EXPECT_EQ(result.err.find('\n'), result.err.size() - 1) << result.err;
  };
  const std::string there = folder.path(), made = folder.path() / "made";
  fails({"convert"}, kBadArguments, "write ternion convert SRC DST");
  fails({"convert", DemoModel()}, kBadArguments, "write ternion convert SRC DST");
  fails({"convert", DemoModel(), there}, kBadArguments, "is there already; remove it");
  fails({"convert", DemoModel(), made, "--tp=3"}, kBadArguments, "tp");
  fails({"convert", DemoModel(), made, "--packing=zip"}, kBadArguments, "--packing");
  fails({"convert", there + "/none", made}, kBadModel, "none/config.json: cannot open");
  fails({"convert", "--verify", DemoModel()}, kBadModel, "ternion.json: cannot open");
  EXPECT_FALSE(std::filesystem::exists(made));
  Convert(DemoModel(), made);
  fails({"convert", made, made + "2"}, kBadArguments, "is a converted folder already");
}

TEST(ConvertTest, InspectTellsOfIt) {
  const TempFolder folder;
  const std::string made = folder.path() / "made";
  Convert(DemoModel(), made, {"--tp=2", "--pp=2"});
  const ProgramResult text = RunProgram(1, {"inspect", made, "--tensors"});
  EXPECT_EQ(text.exit_status, 0) << text.err;
  EXPECT_THAT(text.out, AllOf(HasSubstr("converted        for tp 2, pp 2; packing cpu; from demo, digest "),
                              HasSubstr("tp 2, pp 2, KV cache f16"),
                              HasSubstr("rank-3-of-4.safetensors  layers.7.down.ternary  U8 ["),
                              HasSubstr("bits a weight    2.00 of linear layers")));
  const ProgramResult result = RunProgram(1, {"inspect", made, "--tensors", "--json"});
  const auto json = nlohmann::json::parse(result.out);
  EXPECT_EQ(json["converted"]["tp"], 2);
  EXPECT_EQ(json["converted"]["sha256"].get<std::string>().size(), 64u);
  EXPECT_EQ(json["ranks"].size(), 4u);
  EXPECT_EQ(json["linear_kind"], "ternary");
  EXPECT_GT(json["tensors"].size(), 100u);
  const auto source = nlohmann::json::parse(RunProgram(1, {"inspect", DemoModel(), "--json"}).out);
  EXPECT_EQ(source["parameters"], json["parameters"]);
  EXPECT_EQ(source["digest"], nlohmann::json::parse(result.out)["converted"]["source_digest"]);
}

}  // namespace
}  // namespace ternion
