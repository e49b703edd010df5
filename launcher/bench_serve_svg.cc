#include "launcher/bench_serve_svg.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "kernels/status.h"

namespace ternion {
namespace {

// Pixels. A panel is a heading, a line of numbers, the plot and the axis below it.
constexpr double kWidth = 960;
constexpr double kHeight = 672;
constexpr double kTop = 96;  // of the first panel
constexpr double kPanelWidth = 480;
constexpr double kPanelHeight = 286;
constexpr double kPlotLeft = 60;
constexpr double kPlotTop = 50;
constexpr double kPlotWidth = 376;
constexpr double kPlotHeight = 172;
// More steps than pixels show nothing.
constexpr size_t kMostSteps = 400;
// From this ratio of the largest to the smallest value on, the axis is logarithmic; what is smaller than the
// largest by the second factor lies on its edge.
constexpr double kLogRatio = 12;
constexpr double kMostRatio = 1e4;
constexpr double kSecondsFrom = 1e4;  // ms: axes that reach so far have seconds

// Colours as classes, not variables, which some viewers do not know.
constexpr std::string_view kStyle = R"(<style>
text { font-family: system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; font-size: 12px; }
text { fill: #5f5e5a; }
.title { font-size: 18px; font-weight: 600; fill: #1a1a19; }
.head { font-size: 14px; font-weight: 600; fill: #1a1a19; }
.tick, .mark { font-variant-numeric: tabular-nums; }
.page { fill: #fcfcfb; }
.grid { stroke: #e4e3de; stroke-width: 1; fill: none; }
.axis { stroke: #8a8983; stroke-width: 1; fill: none; }
.curve { stroke: #2a6fc9; stroke-width: 2; stroke-linejoin: round; fill: none; }
.guide { stroke: #2a6fc9; stroke-width: 1; stroke-dasharray: 2 3; fill: none; }
.dot { fill: #2a6fc9; stroke: #fcfcfb; stroke-width: 2; }
.mark { fill: #1a1a19; }
.limit { stroke: #b4480c; stroke-width: 1.5; stroke-dasharray: 6 4; fill: none; }
.limit-text { fill: #b4480c; }
@media (prefers-color-scheme: dark) {
text { fill: #b4b3ac; }
.title, .head, .mark { fill: #f3f2ee; }
.page { fill: #1b1b1a; }
.grid { stroke: #343430; }
.axis { stroke: #7d7c76; }
.curve, .guide { stroke: #6aa5f2; }
.dot { fill: #6aa5f2; stroke: #1b1b1a; }
.limit { stroke: #f0935a; }
.limit-text { fill: #f0935a; }
}
</style>
)";

std::string Escape(std::string_view text) {
  return absl::StrReplaceAll(ToAbsl(text), {{"&", "&amp;"}, {"<", "&lt;"}, {">", "&gt;"}, {"\"", "&quot;"}});
}

// Three digits that count.
std::string Digits(double value) {
  if (value >= 100) return absl::StrFormat("%.0f", value);
  return value >= 10 ? absl::StrFormat("%.1f", value) : absl::StrFormat("%.2f", value);
}

// 1, 2 or 5 times a power of ten: the largest that is at most `value`, or the smallest that is at least.
double RoundBelow(double value) {
  const double power = std::pow(10, std::floor(std::log10(value) + 1e-9));
  for (const double factor : {5, 2}) {
    if (factor * power <= value * (1 + 1e-9)) return factor * power;
  }
  return power;
}

double RoundAbove(double value) {
  const double below = RoundBelow(value);
  if (below >= value * (1 - 1e-9)) return below;
  const double power = std::pow(10, std::floor(std::log10(below) + 1e-9));
  const double factor = std::round(below / power);
  return factor == 1 ? 2 * power : factor == 2 ? 5 * power : 10 * power;
}

// The horizontal axis of a panel, in ms.
struct Axis {
  bool logarithmic = false;
  double low = 0;
  double high = 1;
  std::vector<double> ticks;

  // 0 at the left edge, 1 at the right.
  double Place(double value) const {
    const double inside = std::clamp(value, low, high);
    if (logarithmic) return std::log(inside / low) / std::log(high / low);
    return (inside - low) / (high - low);
  }
};

Axis LinearAxis(double least, double most) {
  Axis axis;
  const double span = std::max({most - least, most * 0.05, 1e-3});
  const double step = RoundAbove(span / 6);
  axis.low = std::floor(least / step) * step;
  const auto steps = static_cast<int>(std::ceil((most - axis.low) / step - 1e-9));
  for (int i = 0; i <= std::max(steps, 1); ++i) axis.ticks.push_back(axis.low + i * step);
  axis.high = axis.ticks.back();
  return axis;
}

Axis LogAxis(double least, double most) {
  Axis axis;
  axis.logarithmic = true;
  axis.low = RoundBelow(std::max(least, most / kMostRatio));
  axis.high = RoundAbove(most);
  const bool decades_alone = axis.high / axis.low > 1e3;
  for (double tick = axis.low; tick <= axis.high * (1 + 1e-9); tick = RoundAbove(tick * 1.01)) {
    const double decade = std::log10(tick);
    if (!decades_alone || std::abs(decade - std::round(decade)) < 1e-6) axis.ticks.push_back(tick);
  }
  return axis;
}

Axis MakeAxis(const std::vector<double>& sorted) {
  const double least = sorted.front();
  const double most = std::max(sorted.back(), 1e-3);
  return most > least * kLogRatio ? LogAxis(least, most) : LinearAxis(least, most);
}

class Panel {
 public:
  Panel(const Latencies& kind, std::string_view of, std::optional<double> limit_ms, double x, double y,
        std::string* out)
      : kind_(kind), of_(of), limit_ms_(limit_ms), x_(x), y_(y), out_(out) {}

  void Draw() {
    absl::StrAppendFormat(out_, "<g transform=\"translate(%g %g)\">\n", x_, y_);
    Text(kPlotLeft, 16, "head", "start", kind_.title);
    if (kind_.sorted_ms.empty()) {
      Text(kPlotLeft, 36, "tick", "start", "nothing was measured");
    } else {
      axis_ = MakeAxis(kind_.sorted_ms);
      Text(kPlotLeft, 36, "tick", "start", Numbers());
      DrawAxes();
      DrawLimit();
      DrawCurve();
      DrawMark(50, "median");
      DrawMark(99, "P99");
    }
    *out_ += "</g>\n";
  }

 private:
  double X(double ms) const { return kPlotLeft + kPlotWidth * axis_.Place(ms); }
  static double Y(double percent) { return kPlotTop + kPlotHeight * (1 - percent / 100); }

  void Text(double x, double y, std::string_view css, std::string_view anchor, std::string_view text) {
    absl::StrAppendFormat(out_, "<text class=\"%s\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">%s</text>\n",
                          css, x, y, anchor, Escape(text));
  }

  void Line(std::string_view css, double x1, double y1, double x2, double y2) {
    absl::StrAppendFormat(out_, "<path class=\"%s\" d=\"M%.1f %.1fL%.1f %.1f\"/>\n", css, x1, y1, x2, y2);
  }

  bool seconds() const { return axis_.high >= kSecondsFrom; }
  std::string Time(double ms) const { return seconds() ? Digits(ms / 1e3) + " s" : Digits(ms) + " ms"; }

  std::string Numbers() const {
    return absl::StrCat("median ", Time(Percentile(kind_.sorted_ms, 50)), " · mean ", Time(kind_.Mean()),
                        " · P99 ", Time(Percentile(kind_.sorted_ms, 99)), " · longest ",
                        Time(kind_.sorted_ms.back()));
  }

  void DrawAxes() {
    for (int percent = 0; percent <= 100; percent += 25) {
      Line(percent == 0 ? "axis" : "grid", kPlotLeft, Y(percent), kPlotLeft + kPlotWidth, Y(percent));
      Text(kPlotLeft - 8, Y(percent) + 4, "tick", "end", absl::StrCat(percent, " %"));
    }
    for (const double tick : axis_.ticks) {
      Line("grid", X(tick), Y(0), X(tick), Y(100));
      Text(X(tick), Y(0) + 18, "tick", "middle", absl::StrFormat("%g", seconds() ? tick / 1e3 : tick));
    }
    const std::string unit =
        absl::StrCat("share of ", ToAbsl(of_), " within so many ", seconds() ? "seconds" : "milliseconds",
                     axis_.logarithmic ? ", logarithmic" : "");
    Text(kPlotLeft + kPlotWidth / 2, Y(0) + 38, "tick", "middle", unit);
  }

  // The curve leaves room for the text above its lower half and below its upper half.
  void DrawLimit() {
    if (!limit_ms_ || *limit_ms_ < axis_.low || *limit_ms_ > axis_.high) return;
    const bool above = *limit_ms_ < Percentile(kind_.sorted_ms, 50);
    const bool left = axis_.Place(*limit_ms_) > (above ? 0.25 : 0.75);
    Line("limit", X(*limit_ms_), Y(0), X(*limit_ms_), Y(100));
    Text(X(*limit_ms_) + (left ? -6 : 6), above ? Y(100) + 14 : Y(0) - 8, "limit-text",
         left ? "end" : "start", "limit " + Time(*limit_ms_));
  }

  // Steps up at every value; where there are many, at equally many of them.
  void DrawCurve() {
    const std::vector<double>& values = kind_.sorted_ms;
    const size_t steps = std::min(values.size(), kMostSteps);
    absl::StrAppendFormat(out_, "<path class=\"curve\" d=\"M%.1f %.1f", X(values.front()), Y(0));
    for (size_t i = 1; i <= steps; ++i) {
      const size_t index = values.size() * i / steps - 1;
      const double percent = 100 * static_cast<double>(index + 1) / static_cast<double>(values.size());
      absl::StrAppendFormat(out_, "H%.1fV%.1f", X(values[index]), Y(percent));
    }
    *out_ += "\"/>\n";
  }

  // Right of a curve that rises, and below it, is room for a name.
  void DrawMark(double percent, std::string_view name) {
    const double x = X(Percentile(kind_.sorted_ms, percent));
    Line("guide", x, Y(percent), x, Y(0));
    absl::StrAppendFormat(out_, "<circle class=\"dot\" cx=\"%.1f\" cy=\"%.1f\" r=\"4.5\"/>\n", x, Y(percent));
    Text(x + 8, Y(percent) + 14, "mark", "start", name);
  }

  const Latencies& kind_;
  const std::string_view of_;  // what is counted
  const std::optional<double> limit_ms_;
  const double x_;
  const double y_;
  std::string* const out_;
  Axis axis_;
};

std::optional<double> LimitOf(std::string_view key, const GoodputLimits& limits) {
  if (key == "ttft") return limits.ttft_ms;
  if (key == "tpot") return limits.tpot_ms;
  return key == "e2el" ? limits.e2el_ms : std::nullopt;
}

}  // namespace

std::string LatencySvg(const Summary& summary, const GoodputLimits& limits, std::string_view title,
                       const std::vector<std::string>& lines) {
  std::string out = absl::StrFormat(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %g %g\" width=\"%g\" height=\"%g\" "
      "role=\"img\">\n",
      kWidth, kHeight, kWidth, kHeight);
  absl::StrAppend(&out, "<title>", Escape(title), "</title>\n", ToAbsl(kStyle));
  absl::StrAppendFormat(&out, "<rect class=\"page\" width=\"%g\" height=\"%g\"/>\n", kWidth, kHeight);
  absl::StrAppendFormat(&out, "<text class=\"title\" x=\"%g\" y=\"34\">%s</text>\n", kPlotLeft,
                        Escape(title));
  for (size_t i = 0; i < lines.size(); ++i) {
    absl::StrAppendFormat(&out, "<text x=\"%g\" y=\"%g\">%s</text>\n", kPlotLeft,
                          56 + 18 * static_cast<double>(i), Escape(lines[i]));
  }
  for (size_t i = 0; i < summary.kinds.size(); ++i) {
    const Latencies& kind = summary.kinds[i];
    const double x = static_cast<double>(i % 2) * kPanelWidth;
    const double y = kTop + static_cast<double>(i / 2) * kPanelHeight;
    Panel(kind, kind.key == "itl" ? "gaps" : "requests", LimitOf(kind.key, limits), x, y, &out).Draw();
  }
  return out + "</svg>\n";
}

}  // namespace ternion
