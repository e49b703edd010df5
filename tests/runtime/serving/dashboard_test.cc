// configs/grafana/ternion.json asks only for metrics that there are.
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <regex>
#include <set>
#include <string>

#include "runtime/serving/serving_metrics.h"

namespace ternion {
namespace {

using nlohmann::json;

// A server's text in which every family has a sample.
std::string Scrape() {
  ServingMetrics metrics("demo");
  metrics.SetScheduler({});
  metrics.SetRank(0, true, 0);
  metrics.SetWireBytes("reduce", "host", 1);
  metrics.SetWeightSkips({2, 1});
  metrics.SetInfo({{"tp", "1"}});
  return metrics.Text();
}

std::set<std::string> NamesIn(const std::string& text) {
  static const std::regex name("(vllm|ternion):[a-z0-9_]+");
  std::set<std::string> names;
  for (std::sregex_iterator it(text.begin(), text.end(), name), end; it != end; ++it) names.insert(it->str());
  return names;
}

TEST(Dashboard, NamesMetricsThatExist) {
  std::ifstream file(std::string(TERNION_SOURCE_DIR) + "/configs/grafana/ternion.json");
  const json board = json::parse(file, nullptr, /*allow_exceptions=*/false);
  ASSERT_TRUE(board.is_object());
  std::string samples;
  std::istringstream lines(Scrape());
  for (std::string line; std::getline(lines, line);) {
    if (line.rfind('#', 0) != 0) samples += line + "\n";
  }
  const std::set<std::string> known = NamesIn(samples);
  std::set<std::string> asked = NamesIn(board["templating"].dump());
  std::set<int> ids;
  for (const json& panel : board["panels"]) {
    EXPECT_TRUE(ids.insert(panel["id"].get<int>()).second) << panel["title"];
    for (const json& target : panel["targets"]) {
      const std::set<std::string> names = NamesIn(target["expr"]);
      EXPECT_FALSE(names.empty()) << target["expr"];
      asked.insert(names.begin(), names.end());
    }
  }
  EXPECT_GT(asked.size(), 20u);
  for (const std::string& name : asked) EXPECT_EQ(known.count(name), 1u) << name;
}

}  // namespace
}  // namespace ternion
