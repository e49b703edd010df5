#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "launcher/bench_serve_report.h"

namespace ternion {

// The latencies of a run as one self-contained SVG, for light and dark surroundings: for each kind its
// cumulative distribution, with median, P99 and, where there is one, the limit for goodput. `title` and
// the lines below it, two at most, are plain text.
std::string LatencySvg(const Summary& summary, const GoodputLimits& limits, std::string_view title,
                       const std::vector<std::string>& lines);

}  // namespace ternion
