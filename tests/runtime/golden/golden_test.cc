// The demo models against what an independent implementation gave (tests/data/*/golden.safetensors).
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "kernels/backend.h"
#include "parallel/communicator.h"
#include "runtime/cache/kv_cache.h"
#include "runtime/checkpoint/safetensors.h"
#include "runtime/model/sampler.h"
#include "runtime/model/weights.h"
#include "runtime/serving/engine.h"

namespace ternion {
namespace {

constexpr int64_t kTokens = 1024;

template <typename T>
std::vector<T> Values(const SafetensorsFile& file, const std::string& name) {
  const FileTensor* tensor = file.Find(name);
  EXPECT_NE(tensor, nullptr) << name;
  std::vector<T> values(tensor->data.size() / sizeof(T));
  std::memcpy(values.data(), tensor->data.data(), tensor->data.size());
  return values;
}

struct Demo {
  std::string folder;  // below the repository's root
  std::string goldens;
  int margins;  // positions with a margin of at least 1
};

// One rank with the whole model, driven without a scheduler.
class Golden : public testing::TestWithParam<Demo> {
 protected:
  void SetUp() override {
    const std::string root = std::string(TERNION_SOURCE_DIR) + "/";
    auto source = OpenCheckpoint(root + GetParam().folder);
    ASSERT_TRUE(source.ok()) << source.status();
    auto goldens = SafetensorsFile::Open(root + GetParam().goldens + "/golden.safetensors");
    ASSERT_TRUE(goldens.ok()) << goldens.status();
    goldens_ = *std::move(goldens);
    config_ = (*source)->config();
    backend_ = MakeCpuBackend(2);
    auto weights = (*source)->Load({}, *backend_, [](double) {});
    ASSERT_TRUE(weights.ok()) << weights.status();
    auto cache = KvCache::Create(*backend_, KvFormat::kF32, /*query_bits=*/0, config_.shape.layers,
                                 BlocksFor(kTokens), weights->shard.heads);
    ASSERT_TRUE(cache.ok());
    cache_ = *std::move(cache);
    EngineOptions options;
    options.kv_blocks = 1;
    options.max_batch_tokens = kTokens;
    auto engine = Engine::Create(config_, *std::move(weights), {}, options, *backend_, *solo_, *solo_);
    ASSERT_TRUE(engine.ok()) << engine.status();
    engine_ = *std::move(engine);
    blocks_.resize(BlocksFor(kTokens));
    std::iota(blocks_.begin(), blocks_.end(), 0);
  }

  void Forward(const std::vector<int32_t>& ids) {
    const KvSlice slice{0, static_cast<int64_t>(ids.size()), 0, blocks_};
    ASSERT_TRUE(engine_->stage().Forward(ids, absl::MakeConstSpan(&slice, 1), *cache_).ok());
  }

  std::string Name(int prompt, const std::string& what) const {
    return "prompt" + std::to_string(prompt) + "." + what;
  }

  std::unique_ptr<SafetensorsFile> goldens_;
  ModelConfig config_;
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<Communicator> solo_ = MakeSoloCommunicator();
  std::unique_ptr<KvCache> cache_;
  std::unique_ptr<Engine> engine_;
  std::vector<int32_t> blocks_;
};

TEST_P(Golden, HiddenStatesOfEveryLayer) {
  const auto ids = Values<int32_t>(*goldens_, "prompt3.ids");
  const auto want = Values<float>(*goldens_, "prompt3.hidden");  // [layers + 1, T, hidden]
  int64_t seen = 0;
  engine_->stage().Observe([&](int64_t layer, TensorView<const float> residual) {
    const float* expected = want.data() + layer * residual.size();
    double error = 0;
    double norm = 0;
    for (int64_t i = 0; i < residual.size(); ++i) {
      error += std::pow(static_cast<double>(residual.data()[i]) - expected[i], 2);
      norm += std::pow(static_cast<double>(expected[i]), 2);
    }
    const double relative = std::sqrt(error / norm);
    EXPECT_LT(relative, 1e-4) << "layer " << layer;
    RecordProperty("layer_" + std::to_string(layer), std::to_string(relative));
    ++seen;
  });
  Forward(ids);
  EXPECT_EQ(seen, config_.shape.layers + 1);
}

TEST_P(Golden, TeacherForcedArgMax) {
  int positions = 0;
  int differ = 0;
  for (int prompt = 0; prompt < 8; ++prompt) {
    auto ids = Values<int32_t>(*goldens_, Name(prompt, "ids"));
    const auto greedy = Values<int32_t>(*goldens_, Name(prompt, "greedy"));
    const auto margin = Values<float>(*goldens_, Name(prompt, "greedy_margin"));
    std::vector<LogitsRequest> requests;
    for (size_t i = 0; i < greedy.size(); ++i) {
      requests.push_back({static_cast<int32_t>(ids.size() + i) - 1, SampleRow()});
    }
    ids.insert(ids.end(), greedy.begin(), greedy.end() - 1);
    Forward(ids);
    const auto tokens = static_cast<int64_t>(ids.size());
    ASSERT_TRUE(engine_->stage().BeginLogits(tokens, requests, [](int64_t, absl::Span<const float>) {}).ok());
    const std::vector<LogitsAnswer> answers = engine_->stage().TakeAnswers();
    for (size_t i = 0; i < greedy.size(); ++i) {
      if (margin[i] < 1.0f) continue;
      ++positions;
      differ += answers[i].id != greedy[i];
    }
  }
  EXPECT_EQ(positions, GetParam().margins);
  EXPECT_LE(differ, 2);
  RecordProperty("differ", differ);
}

INSTANTIATE_TEST_SUITE_P(Demos, Golden,
                         testing::Values(Demo{"configs/demo", "tests/data/demo-a4.8", 379},
                                         Demo{"tests/data/demo-b1.58", "tests/data/demo-b1.58", 363}),
                         [](const auto& test) { return test.index == 0 ? "a48" : "b158"; });

}  // namespace
}  // namespace ternion
