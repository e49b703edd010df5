// A .gguf file instead of a Hugging Face folder: the same model, to the last bit.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "tests/runtime/checkpoint/demo_gguf.h"
#include "tests/support/http_client.h"
#include "tests/support/program.h"
#include "tests/support/temp_folder.h"

namespace ternion {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr int kBadArguments = 2;
constexpr int kBadModel = 3;

std::vector<std::string> Generate(const std::string& model) {
  return {"generate", model, "--max-tokens=24", "--ignore-eos", "--prompt", "The std::vector class template"};
}

TEST(GgufProgramTest, GeneratesWhatTheFolderDoes) {
  const TempFolder folder;
  const std::string file = folder.Write("demo-model.gguf", DemoGguf().Bytes());
  const nlohmann::json want = RunForJson(1, 1, Generate(SourcePath("tests/data/demo-b1.58")));
  ASSERT_EQ(want["ids"].size(), 24u);
  const auto expect_same = [&](const nlohmann::json& got) {
    for (const char* field : {"prompt_ids", "ids", "text", "logits_hash"})
      EXPECT_EQ(got[field], want[field]) << field;
  };
  expect_same(RunForJson(1, 1, Generate(file)));
  expect_same(RunForJson(2, 2, Generate(folder.path())));  // which holds that one alone
}

TEST(GgufProgramTest, InspectTellsOfIt) {
  const TempFolder folder;
  const std::string file = folder.Write("demo-model.gguf", DemoGguf().Bytes());
  const ProgramResult result = RunProgram(1, {"inspect", file});
  EXPECT_EQ(result.exit_status, 0) << result.err;
  EXPECT_THAT(result.out, AllOf(HasSubstr("model            demo-model\n"), HasSubstr("layers           8\n"),
                                HasSubstr("head tied to the embedding"), HasSubstr("ReLU^2, sub-norms")));
}

TEST(GgufProgramTest, OneOfSeveralMustBeNamed) {
  const TempFolder folder;
  folder.Write("b.gguf", "");
  folder.Write("a.gguf", "");
  const ProgramResult result = RunProgram(1, {"inspect", folder.path()});
  EXPECT_EQ(result.exit_status, kBadModel);
  EXPECT_THAT(result.err, HasSubstr("holds 2 .gguf files (a.gguf, b.gguf); name one of them"));
}

TEST(GgufProgramTest, OtherFilesAreNoModel) {
  const ProgramResult result = RunProgram(1, {"inspect", SourcePath("README.md")});
  EXPECT_EQ(result.exit_status, kBadModel);
  EXPECT_THAT(result.err,
              HasSubstr("README.md: is a file; MODEL is a folder with a config.json, or a .gguf file"));
}

// Serves one model's file; gives the port when it does.
struct GgufServer {
  explicit GgufServer(const std::string& model)
      : process(StartProgram(1, {"serve", model, "--threads=1", "--host=127.0.0.1", "--port=0"})) {
    EXPECT_TRUE(process->WaitForErr("serving ", std::chrono::seconds(60)));
    const std::string log = process->Err(), address = "://127.0.0.1:";
    port = static_cast<uint16_t>(std::stoi(log.substr(log.find(address) + address.size())));
  }

  std::unique_ptr<Process> process;
  uint16_t port = 0;
};

TEST(GgufProgramTest, ChatsByItsOwnTemplate) {
  const TempFolder folder;
  GgufTestFile demo = DemoGguf();
  demo.Key("tokenizer.chat_template") = GgufText("{{ bos_token }}Q: {{ messages[0].content }} A:");
  const GgufServer server(folder.Write("demo.gguf", demo.Bytes()));
  HttpClient client(server.port);
  const auto ids = [&](const char* body) {
    return nlohmann::json::parse(client.Post("/tokenize", body).body)["tokens"];
  };
  const auto chat = ids(R"({"messages": [{"role": "user", "content": "why?"}]})");
  EXPECT_EQ(chat, ids(R"({"prompt": "Q: why? A:"})"));
  EXPECT_GT(chat.size(), 3u);
}

TEST(GgufProgramTest, ATemplateThatIsBrokenIsRefusedWithTheReason) {
  const TempFolder folder;
  GgufTestFile demo = DemoGguf();
  demo.Key("tokenizer.chat_template") = GgufText("{{ 1 + }}");
  folder.Write("demo.gguf", demo.Bytes());
  const GgufServer server(folder.path().string());  // which holds that one alone
  EXPECT_THAT(server.process->Err(),
              HasSubstr("demo.gguf: tokenizer.chat_template: line 1, column 8: expected an expression"));
  HttpClient client(server.port);
  EXPECT_EQ(client.Post("/v1/chat/completions", R"({"messages": [{"role": "user", "content": "a"}]})").status,
            400);
  EXPECT_EQ(client.Post("/v1/completions", R"({"prompt": "a", "max_tokens": 1})").status, 200);
}

TEST(GgufProgramTest, ATokenizerThatIsNotSupportedIsRefusedByName) {
  const TempFolder folder;
  GgufTestFile demo = DemoGguf();
  demo.Key("tokenizer.ggml.model") = GgufText("t5");
  const std::string file = folder.Write("demo.gguf", demo.Bytes());
  const ProgramResult result = RunProgram(1, Generate(file));
  EXPECT_EQ(result.exit_status, kBadArguments);
  EXPECT_THAT(result.err, HasSubstr("tokenizer.ggml.model is \"t5\"; only byte-level BPE"));
}

}  // namespace
}  // namespace ternion
