// Whatever is wrong with a command line, a file or the set of ranks is told in one line that says what, where
// and what would be right, and by the exit status.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <ostream>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "kernels/check.h"
#include "tests/e2e/damaged_model.h"
#include "tests/support/program.h"
#include "tests/support/temp_folder.h"

namespace ternion {
namespace {

constexpr int kBadArguments = 2;
constexpr int kBadModel = 3;

// The one line that names the program; a second one fails the test.
std::string ErrorLine(const ProgramResult& result) {
  std::vector<std::string> lines;
  for (const auto& line : absl::StrSplit(result.err, '\n')) {
    if (absl::StartsWith(line, "ternion: ")) lines.emplace_back(line);
  }
  EXPECT_EQ(lines.size(), 1u) << result.err;
  return lines.empty() ? "" : lines[0];
}

void ExpectRefusal(const ProgramResult& result, int exit_status, const std::vector<std::string>& mentions) {
  EXPECT_EQ(result.exit_status, exit_status) << result.err;
  EXPECT_EQ(result.out, "");
  const std::string line = ErrorLine(result);
  for (const std::string& text : mentions) EXPECT_THAT(line, testing::HasSubstr(text));
}

struct BadCommand {
  std::string name;
  int ranks;
  std::vector<std::string> arguments;
  int exit_status;
  std::vector<std::string> mentions;
};

void PrintTo(const BadCommand& bad, std::ostream* out) { *out << bad.name; }

std::vector<std::string> Generate(const std::vector<std::string>& more) {
  std::vector<std::string> arguments = {"generate", DemoModel(), "--ids=1,2,3", "--threads=1"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

class CommandLineTest : public testing::TestWithParam<BadCommand> {};

TEST_P(CommandLineTest, IsRefused) {
  const BadCommand& bad = GetParam();
  ExpectRefusal(RunProgram(bad.ranks, bad.arguments), bad.exit_status, bad.mentions);
}

const std::vector<BadCommand> kBadCommands = {
    {"NoCommand", 1, {}, kBadArguments, {"subcommand", "--help"}},
    {"NoFolder",
     1,
     {"generate", "/no/such/folder", "--ids=1"},
     kBadModel,
     {"/no/such/folder", "No such file"}},
    {"NoModelInFolder", 1, {"generate", SourcePath("tests"), "--ids=1"}, kBadModel, {"tests/config.json"}},
    {"NoModel", 1, {"generate", "--ids=1"}, kBadArguments, {"MODEL", "--synthetic"}},
    {"TooFewRanks",
     1,
     Generate({"--tp=2", "--pp=2"}),
     kBadArguments,
     {"has 1 rank", "needs 4", "mpirun -np 4"}},
    {"TooManyRanks", 2, Generate({"--tp=1"}), kBadArguments, {"has 2 ranks", "tp 1", "needs 1"}},
    {"HeadsOverThree", 3, Generate({"--tp=3"}), kBadArguments, {"8 heads", "tp 3", "1, 2, 4, 8"}},
    {"LayersOverNine", 9, Generate({"--pp=9"}), kBadArguments, {"8 layers", "pp 9", "1 to 8"}},
    {"UnknownOption", 1, Generate({"--frobnicate"}), kBadArguments, {"--frobnicate", "--help"}},
    {"UnknownOptionOnRanks", 2, Generate({"--tp=2", "--frobnicate"}), kBadArguments, {"--frobnicate"}},
    {"WordForNumber", 1, Generate({"--tp=two"}), kBadArguments, {"--tp", "two"}},
    {"NoThreads", 1, Generate({"--threads=-1"}), kBadArguments, {"--threads", "-1"}},
    {"NoTokens", 1, Generate({"--max-tokens=0"}), kBadArguments, {"--max-tokens", "0"}},
    {"WireFormat", 1, Generate({"--wire=fp8"}), kBadArguments, {"fp8", "exact, int8, int4"}},
    {"PipelineWireFormat",
     1,
     Generate({"--pipeline-wire=int3"}),
     kBadArguments,
     {"int3", "exact, int8, int4"}},
    {"KvFormat", 1, Generate({"--kv-cache=int5"}), kBadArguments, {"--kv-cache", "int5", "f16"}},
    {"QueryBits", 1, Generate({"--query-bits=3"}), kBadArguments, {"--query-bits", "3", "4"}},
    {"KvMemoryUnit", 1, Generate({"--kv-memory=1x"}), kBadArguments, {"1x", "8GiB"}},
    {"KvMemoryTooSmall", 1, Generate({"--kv-memory=1KiB"}), kBadArguments, {"--kv-memory", "block"}},
    {"LongerThanTheModel", 1, Generate({"--max-model-len=5000"}), kBadArguments, {"5000", "2048"}},
    {"PromptOverContext", 1, Generate({"--max-model-len=3"}), kBadArguments, {"3 tokens", "context of 3"}},
    {"IdOutsideVocabulary",
     1,
     {"generate", DemoModel(), "--ids=1,4096"},
     kBadArguments,
     {"4096", "vocabulary"}},
    {"IdsNoNumbers", 1, {"generate", DemoModel(), "--ids=1,x"}, kBadArguments, {"--ids", "'x'", "1,2,3"}},
    {"TwoPrompts", 1, Generate({"--prompt=a"}), kBadArguments, {"one of", "--prompt", "--ids"}},
    {"PromptFile", 1, {"generate", DemoModel(), "--prompt-file=/no/file"}, kBadArguments, {"/no/file"}},
    {"ConfigFile", 1, Generate({"--config=/no/file.toml"}), kBadArguments, {"/no/file.toml"}},
    {"TokensTensor",
     1,
     {"perplexity", DemoModel(), "--tokens=" + SourcePath("tests/data/demo-a4.8/golden.safetensors:nothing")},
     kBadArguments,
     {"golden.safetensors", "nothing"}},
    {"NoTokenizer",
     1,
     {"serve", "--synthetic=" + SourcePath("tests/data/tiny-a4.8.json")},
     kBadArguments,
     {"synthetic", "--tokenizer", "tokenizer.json"}},
    {"LargeTokenizer",
     1,
     {"serve", "--synthetic=" + SourcePath("tests/data/tiny-a4.8.json"), "--tokenizer=" + DemoModel()},
     kBadArguments,
     {"--tokenizer", "4096 tokens"}},
    {"CertificateAlone",
     1,
     {"serve", DemoModel(), "--tls-cert=a.pem"},
     kBadArguments,
     {"--tls-cert", "--tls-key"}},
    {"NoCertificate",
     1,
     {"serve", DemoModel(), "--tls-cert=/no/cert.pem", "--tls-key=/no/key.pem"},
     kBadArguments,
     {"TLS certificate", "/no/cert.pem"}},
    {"Origin",
     1,
     {"serve", DemoModel(), "--cors-origin=a/b"},
     kBadArguments,
     {"--cors-origin", "a/b", "https://HOST"}},
    {"Port", 1, {"serve", DemoModel(), "--port=99999"}, kBadArguments, {"--port", "99999"}},
};

INSTANTIATE_TEST_SUITE_P(Table, CommandLineTest, testing::ValuesIn(kBadCommands),
                         [](const auto& test) { return test.param.name; });

TEST(EnvironmentTest, UnknownInstructionSetIsRefused) {
  ExpectRefusal(RunCommand(ProgramCommand(1, Generate({})), {"TERNION_ISA=sse9"}), kBadArguments,
                {"TERNION_ISA=sse9", "portable, avx2 or avx512"});
}

TEST(ConfigFileTest, UnknownKeyIsRefused) {
  const TempFolder folder;
  const std::string file = folder.Write("job.toml", "threads = 1\nfrobnicate = 3\n").string();
  ExpectRefusal(RunProgram(1, Generate({"--config=" + file})), kBadArguments, {file, "frobnicate"});
}

TEST(ConfigFileTest, BrokenTomlNamesTheLine) {
  const TempFolder folder;
  const std::string file = folder.Write("job.toml", "threads = 1\ntp = \n").string();
  ExpectRefusal(RunProgram(1, Generate({"--config=" + file})), kBadArguments, {file + ":2"});
}

// Runs the demo model after `damage`.
template <typename Damage>
ProgramResult RunDamaged(Damage damage) {
  DamagedModel model;
  damage(model);
  return RunProgram(1, {"generate", model.Write(), "--ids=1,2,3", "--threads=1", "--max-tokens=1"});
}

TEST(ModelFileTest, UndamagedCopyRuns) {
  const ProgramResult result = RunDamaged([](DamagedModel&) {});
  EXPECT_EQ(result.exit_status, 0) << result.err;
}

TEST(ModelFileTest, TruncatedFile) {
  const auto damage = [](DamagedModel& model) { model.bytes.resize(model.bytes.size() / 2); };
  ExpectRefusal(RunDamaged(damage), kBadModel, {"model.safetensors"});
}

TEST(ModelFileTest, FileOfAFewBytes) {
  const auto damage = [](DamagedModel& model) { model.bytes.resize(5); };
  ExpectRefusal(RunDamaged(damage), kBadModel, {"model.safetensors"});
}

TEST(ModelFileTest, HeaderLengthBeyondTheFile) {
  const auto damage = [](DamagedModel& model) { model.bytes[6] = '\x7f'; };
  ExpectRefusal(RunDamaged(damage), kBadModel, {"model.safetensors", "header"});
}

TEST(ModelFileTest, ShapeThatIsNotTheOffsets) {
  const auto damage = [](DamagedModel& model) {
    model.ReplaceInHeader("\"shape\":[4096,512]", "\"shape\":[4097,512]");
  };
  ExpectRefusal(RunDamaged(damage), kBadModel, {"model.safetensors", "model.embed_tokens.weight"});
}

TEST(ModelFileTest, MissingTensor) {
  const auto damage = [](DamagedModel& model) {
    model.ReplaceInHeader("model.layers.3.mlp.up_proj.weight\"", "model.layers.3.mlp.no_proj.weight\"");
  };
  ExpectRefusal(RunDamaged(damage), kBadModel, {"model.layers.3.mlp.up_proj.weight"});
}

TEST(ModelFileTest, MatrixOfZeros) {
  const auto damage = [](DamagedModel& model) {
    const DamagedModel::Place place = model.Find("model.layers.5.mlp.down_proj.weight");
    model.bytes.replace(place.begin, place.size, place.size,
                        '\x55');  // the code 1, trit 0, four times a byte
  };
  ExpectRefusal(RunDamaged(damage), kBadModel, {"model.layers.5.mlp.down_proj", "zero"});
}

TEST(ModelShapeTest, HeadsThatPackedCachesDoNotTake) {
  const TempFolder folder;
  std::ifstream file(SourcePath("tests/data/tiny-a4.8.json"));
  nlohmann::json config = nlohmann::json::parse(file);
  config["hidden_size"] = 160;  // eight heads of 20 channels
  const std::string path = folder.Write("config.json", config.dump());
  ExpectRefusal(RunProgram(1, {"generate", "--synthetic=" + path, "--ids=1,2", "--kv-cache=int3"}),
                kBadArguments, {"--kv-cache int3", "multiple of 16", "20", "f16"});
}

// "mpirun" with a command line for each rank.
ProgramResult RunRanks(const std::vector<std::vector<std::string>>& ranks) {
  std::vector<std::string> command = {"mpirun", "--oversubscribe", "--bind-to", "none"};
  for (size_t rank = 0; rank < ranks.size(); ++rank) {
    if (rank > 0) command.push_back(":");
    command.insert(command.end(), {"-np", "1", TERNION_BINARY});
    command.insert(command.end(), ranks[rank].begin(), ranks[rank].end());
  }
  return RunCommand(command);
}

std::vector<std::string> OfTwo(const std::string& model) {
  return {"generate", model, "--ids=1,2,3", "--threads=1", "--tp=2", "--max-tokens=1"};
}

TEST(RanksTest, DifferentModels) {
  const ProgramResult result = RunRanks({OfTwo(DemoModel()), OfTwo(SourcePath("tests/data/demo-b1.58"))});
  ExpectRefusal(result, kBadModel, {"rank 1", "another model"});
}

TEST(RanksTest, OneNumberDiffers) {
  DamagedModel model;
  model.bytes[model.Find("model.layers.2.self_attn.v_proj.weight_scale").begin] ^= 1;
  const ProgramResult result = RunRanks({OfTwo(DemoModel()), OfTwo(model.Write())});
  ExpectRefusal(result, kBadModel, {"rank 1", "another model"});
}

TEST(RanksTest, OneHostHasNoModel) {
  const ProgramResult result = RunRanks({OfTwo(DemoModel()), OfTwo("/no/such/folder")});
  ExpectRefusal(result, kBadModel, {"rank 1", "/no/such/folder"});
}

// Listens on a free port for the time of a test.
class BusyPort {
 public:
  BusyPort() : socket_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    CHECK(bind(socket_, reinterpret_cast<sockaddr*>(&address), size) == 0 && listen(socket_, 1) == 0,
          "listen");
    CHECK(getsockname(socket_, reinterpret_cast<sockaddr*>(&address), &size) == 0, "getsockname");
    port_ = std::to_string(ntohs(address.sin_port));
  }
  ~BusyPort() { close(socket_); }
  BusyPort(const BusyPort&) = delete;
  BusyPort& operator=(const BusyPort&) = delete;

  const std::string& port() const { return port_; }

 private:
  int socket_;
  std::string port_;
};

TEST(PortTest, InUseIsToldBeforeWeightsLoad) {
  const BusyPort busy;
  const ProgramResult result = RunProgram(
      2, {"serve", DemoModel(), "--tp=2", "--threads=1", "--host=127.0.0.1", "--port=" + busy.port()});
  ExpectRefusal(result, kBadArguments, {busy.port(), "in use"});
  EXPECT_THAT(result.err, testing::Not(testing::HasSubstr("weights")));
}

}  // namespace
}  // namespace ternion
