#include "tests/support/prometheus_text.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <set>
#include <sstream>

namespace ternion {
namespace {

// "name{...}" or "name" -> name, without what a histogram adds.
std::string FamilyOf(const std::string& sample, const std::map<std::string, std::string>& types) {
  std::string name = sample.substr(0, sample.find('{'));
  for (const std::string suffix : {"_bucket", "_sum", "_count"}) {
    if (name.size() <= suffix.size() || name.compare(name.size() - suffix.size(), suffix.size(), suffix) != 0)
      continue;
    const std::string family = name.substr(0, name.size() - suffix.size());
    const auto type = types.find(family);
    if (type != types.end() && type->second == "histogram") return family;
  }
  return name;
}

// A sample's name without its labels, and those, such as le="5".
struct Name {
  std::string family;
  std::set<std::string> labels;

  explicit Name(const std::string& text) : family(text.substr(0, text.find('{'))) {
    for (size_t at = family.size(); at < text.size() && text[at] != '}';) {
      const size_t end = text.find('"', text.find('"', at) + 1);
      labels.insert(text.substr(at + 1, end - at));
      at = end + 1;
    }
  }
  std::string Text() const {
    std::string text;
    for (const std::string& label : labels) text += (text.empty() ? "" : ",") + label;
    return text.empty() ? family : family + "{" + text + "}";
  }
};

}  // namespace

Samples ParsePrometheus(std::string_view text) {
  Samples samples;
  std::map<std::string, std::string> types;
  std::istringstream lines{std::string(text)};
  for (std::string line; std::getline(lines, line);) {
    if (line.empty() || line.compare(0, 7, "# HELP ") == 0) continue;
    if (line.compare(0, 7, "# TYPE ") == 0) {
      const size_t space = line.find(' ', 7);
      EXPECT_TRUE(types.emplace(line.substr(7, space - 7), line.substr(space + 1)).second) << line;
      continue;
    }
    const size_t space = line.rfind(' ');
    char* end = nullptr;
    const double value = std::strtod(line.c_str() + space + 1, &end);
    EXPECT_TRUE(space != line.npos && *end == '\0') << line;
    const std::string name = Name(line.substr(0, space)).Text();
    EXPECT_EQ(types.count(FamilyOf(name, types)), 1u) << "no TYPE before " << line;
    EXPECT_TRUE(samples.emplace(name, value).second) << "twice: " << line;
  }
  return samples;
}

void ExpectConsistentHistograms(const Samples& samples) {
  std::map<std::string, std::map<double, double>> histograms;  // count's name -> le -> bucket
  for (const auto& [text, value] : samples) {
    Name name(text);
    const size_t bucket = name.family.find("_bucket");
    if (bucket == text.npos) continue;
    name.family.replace(bucket, text.npos, "_count");
    const auto bound = std::find_if(name.labels.begin(), name.labels.end(), [](const std::string& label) {
      return label.compare(0, 4, "le=\"") == 0;
    });
    ASSERT_TRUE(bound != name.labels.end()) << text;
    const double le = std::strtod(bound->c_str() + 4, nullptr);
    name.labels.erase(bound);
    histograms[name.Text()][le] = value;
  }
  EXPECT_FALSE(histograms.empty());
  for (const auto& [count, buckets] : histograms) {
    double before = 0;
    for (const auto& [bound, value] : buckets) {
      EXPECT_GE(value, before) << count << " at " << bound;
      before = value;
    }
    EXPECT_EQ(buckets.rbegin()->first, std::numeric_limits<double>::infinity()) << count;
    EXPECT_EQ(before, ValueOf(samples, count));
  }
}

double ValueOf(const Samples& samples, const std::string& name) {
  const auto found = samples.find(name);
  EXPECT_TRUE(found != samples.end()) << name;
  return found == samples.end() ? -1 : found->second;
}

}  // namespace ternion
