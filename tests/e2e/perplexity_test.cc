// The quality that docs/numerics.md states, through the whole program.
#include <gtest/gtest.h>

#include <ostream>
#include <string>
#include <vector>

#include "absl/strings/str_replace.h"
#include "tests/support/program.h"

namespace ternion {
namespace {

constexpr double kTolerance = 0.02;
constexpr double kInt2Torch = 8.0464;

std::vector<std::string> Arguments(const std::string& model, const std::string& golden_folder, int windows,
                                   const std::string& kv_cache = "f32") {
  return {"perplexity", SourcePath(model),
          "--tokens=" + SourcePath("tests/data/" + golden_folder + "/golden.safetensors:perplexity.windows"),
          "--windows=" + std::to_string(windows), "--kv-cache=" + kv_cache};
}

nlohmann::json Demo(int tp, int pp, int windows, const std::string& option = "",
                    const std::string& kv_cache = "f32") {
  std::vector<std::string> arguments = Arguments("configs/demo", "demo-a4.8", windows, kv_cache);
  if (!option.empty()) arguments.push_back(option);
  const nlohmann::json json = RunForJson(tp, pp, arguments);
  EXPECT_EQ(json.value("windows", 0), windows);
  EXPECT_EQ(json.value("tokens", 0), windows * 1024);
  return json;
}

double Perplexity(const nlohmann::json& run) { return run.value("perplexity", 0.0); }

double WireBytes(const nlohmann::json& run, const std::string& kind) {
  return run.contains("wire_bytes") ? run["wire_bytes"].value(kind, -1.0) : -1.0;
}

TEST(PerplexityTest, DemoOfAllWindows) { EXPECT_NEAR(Perplexity(Demo(1, 1, 64)), 6.370, kTolerance); }

TEST(PerplexityTest, B158OfAllWindows) {
  const nlohmann::json run = RunForJson(1, 1, Arguments("tests/data/demo-b1.58", "demo-b1.58", 64));
  EXPECT_EQ(run.value("windows", 0), 64);
  EXPECT_NEAR(Perplexity(run), 6.284, kTolerance);
}

TEST(PerplexityTest, ExactWiresChangeNoDigit) {
  const double alone = Perplexity(Demo(1, 1, 2));
  EXPECT_GT(alone, 1);
  EXPECT_EQ(Perplexity(Demo(2, 2, 2)), alone);
}

TEST(PerplexityTest, LossyReduce) {
  const nlohmann::json exact = Demo(2, 1, 8);
  const nlohmann::json int8 = Demo(2, 1, 8, "--wire=int8");
  const nlohmann::json int4 = Demo(2, 1, 8, "--wire=int4");
  const double reference = Perplexity(exact);

  EXPECT_NEAR(Perplexity(int8), reference, kTolerance);
  EXPECT_NE(Perplexity(int8), reference);
  EXPECT_LE(WireBytes(int8, "reduce"), 0.28 * WireBytes(exact, "reduce"));
  EXPECT_GT(WireBytes(int8, "reduce"), 0);

  EXPECT_NEAR(Perplexity(int4) / reference, 1, 6.45 / 6.37 - 1);
  EXPECT_NE(Perplexity(int4), reference);
  EXPECT_NE(Perplexity(int4), Perplexity(int8));
  EXPECT_LE(WireBytes(int4, "reduce"), 0.19 * WireBytes(exact, "reduce"));
  EXPECT_GT(WireBytes(int4, "reduce"), 0);
}

TEST(PerplexityTest, LossyPipeline) {
  const nlohmann::json exact = Demo(1, 2, 8);
  const nlohmann::json int8 = Demo(1, 2, 8, "--pipeline-wire=int8");
  const nlohmann::json int4 = Demo(1, 2, 8, "--pipeline-wire=int4");
  const double reference = Perplexity(exact);

  EXPECT_NEAR(Perplexity(int8), reference, kTolerance);
  EXPECT_NE(Perplexity(int8), reference);
  EXPECT_LE(WireBytes(int8, "pipeline"), 0.28 * WireBytes(exact, "pipeline"));
  EXPECT_GT(WireBytes(int8, "pipeline"), 0);

  EXPECT_NEAR(Perplexity(int4) / reference, 1, 0.02);
  EXPECT_NE(Perplexity(int4), reference);
  EXPECT_LE(WireBytes(int4, "pipeline"), 0.19 * WireBytes(exact, "pipeline"));
  EXPECT_GT(WireBytes(int4, "pipeline"), 0);
}

// Perplexities of docs/numerics.md's table.
struct KvRow {
  const char* format;
  double perplexity;
};
constexpr KvRow kKvRows[] = {
    {"int8", 6.367}, {"int4", 6.463}, {"int4-g32", 6.425}, {"int3", 6.900}, {"int3-g32", 6.588}};

TEST(PerplexityTest, KvFormatsCostWhatTheTableSays) {
  const double exact = Perplexity(Demo(1, 1, 4));
  for (const KvRow& row : kKvRows) {
    EXPECT_NEAR(Perplexity(Demo(1, 1, 4, "", row.format)) / exact, row.perplexity / 6.370, 0.01)
        << row.format;
  }
}

TEST(PerplexityTest, QueriesOf4BitsCostLittle) {
  const double exact = Perplexity(Demo(1, 1, 4)), rounded = Perplexity(Demo(1, 1, 4, "--query-bits=4"));
  EXPECT_NE(rounded, exact);
  EXPECT_NEAR(rounded / exact, 1, 0.01);
}

// What torch says of the dequantized weights (tests/tools/train_int2_model.py); sums of floats between ranks round in
// another way at every tp.
TEST(PerplexityTest, Int2OfEveryGrid) {
  const auto run = [](int tp, int pp, const std::string& option = "--wire=exact") {
    return Perplexity(
        RunForJson(tp, pp,
                   {"perplexity", SourcePath("tests/data/trained-int2"),
                    "--tokens=" + SourcePath("tests/data/trained-int2/windows.safetensors:windows"),
                    "--kv-cache=f32", option}));
  };
  const double alone = run(1, 1);
  EXPECT_NEAR(alone / kInt2Torch, 1, 0.001);
  EXPECT_EQ(run(1, 2), alone);
  for (const int tp : {2, 4}) EXPECT_NEAR(run(tp, 1) / alone, 1, 0.001) << "tp " << tp;
  EXPECT_NEAR(run(2, 1, "--wire=int8") / alone, 1, 0.005);
}

// All windows, within 0.5 %; minutes.
class LongKvTest : public testing::TestWithParam<KvRow> {};

void PrintTo(const KvRow& row, std::ostream* out) { *out << row.format; }

TEST_P(LongKvTest, IsAsDocumented) {
  const KvRow& row = GetParam();
  EXPECT_NEAR(Perplexity(Demo(1, 1, 64, "", row.format)) / row.perplexity, 1, 0.005);
}

INSTANTIATE_TEST_SUITE_P(Formats, LongKvTest, testing::ValuesIn(kKvRows), [](const auto& test) {
  return absl::StrReplaceAll(test.param.format, {{"-", "_"}});
});

// The whole table of docs/numerics.md for the reduce formats; minutes.
struct LossyRow {
  int tp;
  const char* wire;
  double perplexity;
};

void PrintTo(const LossyRow& row, std::ostream* out) { *out << row.wire << " at tp " << row.tp; }

class LongWireTest : public testing::TestWithParam<LossyRow> {};

TEST_P(LongWireTest, IsAsDocumented) {
  const LossyRow& row = GetParam();
  EXPECT_NEAR(Perplexity(Demo(row.tp, 1, 64, std::string("--wire=") + row.wire)), row.perplexity, kTolerance);
}

INSTANTIATE_TEST_SUITE_P(Reduce, LongWireTest,
                         testing::Values(LossyRow{2, "int8", 6.372}, LossyRow{4, "int8", 6.367},
                                         LossyRow{8, "int8", 6.368}, LossyRow{2, "int4", 6.410},
                                         LossyRow{4, "int4", 6.420}, LossyRow{8, "int4", 6.406}),
                         [](const auto& test) {
                           return test.param.wire + ("Tp" + std::to_string(test.param.tp));
                         });

}  // namespace
}  // namespace ternion
