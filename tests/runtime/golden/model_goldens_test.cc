// Small models of every layout against the forward pass of the library that the layout comes from
// (tests/tools/make_model_goldens.py, tests/data/models).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>
#include <memory>
#include <ostream>
#include <set>
#include <string>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "kernels/device_memory_query.h"
#include "kernels/status.h"
#include "runtime/checkpoint/safetensors.h"
#include "runtime/model/weights.h"
#include "tests/support/whole_logits.h"

namespace ternion {
namespace {

// Layouts that no loader reads yet. One that is read fails the test until it is struck off here.
const std::vector<std::string> kNotYetLoadable = {};

// The largest error of a logit as a share of all logits' spread. Inputs of 8 bits: the prompts are such that no rounding to
// a code hangs on the last bit of a float, and so nothing but sums of floats may differ.
constexpr double kEightBit = 1e-4;
// Float inputs; what they are rounded to before a product is the layer's own affair.
constexpr double kFloat = 1e-3;
constexpr double kDense = 1e-4;
// The embedding and the head are held in bfloat16, which costs these files the last three bits of both.
constexpr double kHalfTables = 3e-3;

struct Layout {
  std::string name;  // a folder below tests/data/models
  double tolerance;
};
void PrintTo(const Layout& layout, std::ostream* out) { *out << layout.name; }

const std::vector<Layout> kLayouts = {
    {"bitnet_packed", kEightBit},   {"bitnet_online", kEightBit},     {"llama_bitnet", kEightBit},
    {"falcon_e", kEightBit},        {"bitnet158_1bitllm", kEightBit}, {"trilm", kFloat},
    {"gptq_v2_w2g64", kFloat},      {"gptq_v2_w3g128", kFloat},       {"gptq_v2_w3g128_tens", kFloat},
    {"gptq_v2_w4g128", kFloat},     {"gptq_v1_w4g128", kFloat},       {"gptq_w4g128_qwen2", kFloat},
    {"efficientqat_w2g64", kFloat}, {"dense_llama_bf16", kDense},     {"dense_llama_f16", kHalfTables},
    {"dense_qwen2_bf16", kDense},   {"gguf_tq2_0", kEightBit}};

std::filesystem::path Models() {
  return std::filesystem::path(TERNION_SOURCE_DIR) / "tests" / "data" / "models";
}

absl::StatusOr<std::unique_ptr<WeightSource>> Open(const std::filesystem::path& folder) {
  const auto gguf = folder / "model.gguf";
  return std::filesystem::exists(gguf) ? OpenGguf(gguf) : OpenCheckpoint(folder);
}

absl::StatusOr<std::vector<float>> OpenAndRun(const std::filesystem::path& folder,
                                              const std::vector<int32_t>& ids) {
  TERNION_ASSIGN_OR_RETURN(const auto source, Open(folder));
  return WholeLogits(*source, ids);
}

class ModelGolden : public testing::TestWithParam<Layout> {
 protected:
  void SetUp() override {
    auto golden = SafetensorsFile::Open(folder_ / "golden.safetensors");
    ASSERT_TRUE(golden.ok()) << golden.status();
    golden_ = *std::move(golden);
  }

  template <typename T>
  std::vector<T> Values(const std::string& name) const {
    const FileTensor* tensor = golden_->Find(name);
    EXPECT_NE(tensor, nullptr) << name;
    std::vector<T> values(tensor->data.size() / sizeof(T));
    std::memcpy(values.data(), tensor->data.data(), tensor->data.size());
    return values;
  }

  const std::filesystem::path folder_ = Models() / GetParam().name;
  std::unique_ptr<SafetensorsFile> golden_;
};

double LargestError(const std::vector<float>& got, const std::vector<float>& want) {
  double error = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    if (!std::isfinite(got[i])) return std::numeric_limits<double>::infinity();
    error = std::max(error, std::abs(static_cast<double>(got[i]) - want[i]));
  }
  return error;
}

TEST_P(ModelGolden, LogitsAndGreedyIds) {
  const auto prompt = Values<int32_t>("prompt");
  const auto want = Values<float>("logits");
  const auto greedy = Values<int32_t>("greedy");
  const auto margin = Values<float>("greedy_margin");
  std::vector<int32_t> ids = prompt;
  ids.insert(ids.end(), greedy.begin(), greedy.end() - 1);

  const auto logits = OpenAndRun(folder_, ids);
  if (absl::c_linear_search(kNotYetLoadable, GetParam().name)) {
    EXPECT_FALSE(logits.ok()) << "it loads now: strike it off kNotYetLoadable";
    return;
  }
  ASSERT_TRUE(logits.ok()) << logits.status();
  const size_t vocab = want.size() / prompt.size();
  ASSERT_EQ(logits->size(), ids.size() * vocab);

  const auto [least, most] = std::minmax_element(want.begin(), want.end());
  const double spread = static_cast<double>(*most) - *least;
  const double error = LargestError(*logits, want);
  EXPECT_LE(error, GetParam().tolerance * spread);
  RecordProperty("error", absl::StrCat(error / spread));

  for (size_t i = 0; i < greedy.size(); ++i) {
    if (margin[i] <= 2 * GetParam().tolerance * spread) continue;
    const auto row = logits->begin() + static_cast<std::ptrdiff_t>((prompt.size() - 1 + i) * vocab);
    EXPECT_EQ(std::max_element(row, row + static_cast<std::ptrdiff_t>(vocab)) - row, greedy[i])
        << "step " << i;
  }
}

// On a GPU values are rounded to float16 in attention, and a code of eight bits may turn over.
TEST_P(ModelGolden, LogitsOnAGpu) {
  if (CudaDeviceCount() == 0) GTEST_SKIP() << "no GPU";
  const auto backend = MakeCudaBackend(0);
  ASSERT_TRUE(backend.ok()) << backend.status();
  const auto source = Open(folder_);
  ASSERT_TRUE(source.ok()) << source.status();
  const auto want = Values<float>("logits");
  const auto logits = WholeLogits(**source, Values<int32_t>("prompt"), **backend, KvFormat::kF16);
  ASSERT_TRUE(logits.ok()) << logits.status();
  ASSERT_EQ(logits->size(), want.size());
  const auto [least, most] = std::minmax_element(want.begin(), want.end());
  const double spread = static_cast<double>(*most) - *least;
  EXPECT_LE(LargestError(*logits, want), ((*source)->config().floats() ? 0.005 : 0.05) * spread);
}

INSTANTIATE_TEST_SUITE_P(Layouts, ModelGolden, testing::ValuesIn(kLayouts),
                         [](const auto& test) { return test.param.name; });

TEST(ModelGoldens, EveryFolderIsInTheTable) {
  std::set<std::string> folders;
  for (const auto& entry : std::filesystem::directory_iterator(Models()))
    folders.insert(entry.path().filename());
  std::set<std::string> names;
  for (const Layout& layout : kLayouts) names.insert(layout.name);
  EXPECT_EQ(folders, names);
  for (const std::string& name : kNotYetLoadable) EXPECT_THAT(names, testing::Contains(name));
}

}  // namespace
}  // namespace ternion
