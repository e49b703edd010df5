#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace ternion {

// A scrape in Prometheus' text format: a sample's name with its labels, in alphabetical order, and its value.
using Samples = std::map<std::string, double>;

// Fails the test where a line is neither a comment nor a sample, where a sample's family has no TYPE before it, or where a
// sample comes twice.
Samples ParsePrometheus(std::string_view text);

// Fails the test unless each histogram's buckets ascend, the last one is +Inf, and it is the count.
void ExpectConsistentHistograms(const Samples& samples);

// The sample, or -1 and a failure where there is none.
double ValueOf(const Samples& samples, const std::string& name);

}  // namespace ternion
