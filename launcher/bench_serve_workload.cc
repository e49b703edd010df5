#include "launcher/bench_serve_workload.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <numbers>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "kernels/status.h"

namespace ternion {
namespace {

using nlohmann::json;

constexpr int64_t kDefaultRequests = 100;
constexpr int64_t kLongestTokens = 10'000'000;
// The lowest ids are often control tokens.
constexpr int64_t kLowestId = 16;

// Streams of a seed. Prompts take kPrompts + their number.
constexpr uint64_t kArrivals = 1;
constexpr uint64_t kInputLens = 2;
constexpr uint64_t kOutputLens = 3;
constexpr uint64_t kSharedPrefix = 4;
constexpr uint64_t kPrompts = 1024;

// Common words, most of them one token in most vocabularies.
constexpr std::array<std::string_view, 64> kWords = {
    "the",   "of",   "and",   "to",    "in",   "that",  "it",    "was",   "for",  "on",    "are",
    "with",  "as",   "be",    "at",    "one",  "have",  "this",  "from",  "or",   "had",   "by",
    "but",   "some", "what",  "there", "we",   "can",   "out",   "other", "were", "all",   "your",
    "when",  "up",   "use",   "word",  "how",  "said",  "an",    "each",  "she",  "which", "do",
    "their", "time", "if",    "will",  "way",  "about", "many",  "then",  "them", "would", "write",
    "like",  "so",   "these", "her",   "long", "make",  "thing", "see",   "him"};

uint64_t Mix(uint64_t value) {
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9u;
  value = (value ^ (value >> 27)) * 0x94d049bb133111ebu;
  return value ^ (value >> 31);
}

absl::Status BadLength(std::string_view option, std::string_view text) {
  return absl::InvalidArgumentError(
      absl::StrCat(ToAbsl(option), " ", ToAbsl(text),
                   ": write N, uniform:A:B, normal:MEAN:STDDEV or "
                   "lognormal:MEAN:STDDEV (both may end in :LONGEST), in tokens from 1 to ",
                   kLongestTokens));
}

bool IsLength(double value) { return value >= 1 && value <= kLongestTokens; }

// What is wrong with a line, or nothing.
std::string ReadPrompt(const std::string& line, FilePrompt* prompt) {
  const json object = json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) return "is no JSON object; write {\"prompt\": \"a text\"}";
  const auto found = object.find("prompt");
  if (found == object.end()) return "has no \"prompt\"";
  if (found->is_array()) {
    for (const json& id : *found) {
      const bool is_id = id.is_number_integer() && id >= 0 && id <= std::numeric_limits<int32_t>::max();
      if (!is_id) return absl::StrCat("\"prompt\" holds ", id.dump(), ", which is no token id");
    }
    prompt->tokens = static_cast<int64_t>(found->size());
  } else if (!found->is_string()) {
    return "\"prompt\" must be a string or an array of token ids";
  }
  const bool empty = found->is_string() ? found->get_ref<const std::string&>().empty() : found->empty();
  if (empty) return "\"prompt\" is empty";
  prompt->json = found->dump();
  const auto length = object.find("output_len");
  if (length == object.end()) return "";
  if (!length->is_number_integer() || *length < 1 || *length > kLongestTokens) {
    return absl::StrCat("\"output_len\" is ", length->dump(), "; it must be an integer from 1 to ",
                        kLongestTokens);
  }
  prompt->output_len = length->get<int64_t>();
  return "";
}

}  // namespace

BenchRandom::BenchRandom(uint64_t seed, uint64_t stream) : state_(Mix(seed) ^ Mix(~stream)) {}

uint64_t BenchRandom::Bits() {
  state_ += 0x9e3779b97f4a7c15u;
  return Mix(state_);
}

double BenchRandom::Uniform() { return static_cast<double>(Bits() >> 11) * 0x1p-53; }

int64_t BenchRandom::Integer(int64_t low, int64_t high) {
  return low + static_cast<int64_t>(Uniform() * static_cast<double>(high - low + 1));
}

double BenchRandom::Exponential() { return -std::log1p(-Uniform()); }

// Box and Muller's; the second number of a pair is not kept.
double BenchRandom::Normal() {
  const double radius = std::sqrt(2 * Exponential());
  return radius * std::cos(2 * std::numbers::pi * Uniform());
}

absl::StatusOr<LengthDistribution> LengthDistribution::Parse(std::string_view option, std::string_view text) {
  std::vector<std::string> parts = absl::StrSplit(ToAbsl(text), ':');
  std::string kind = "uniform";
  if (parts.size() > 1) {
    kind = parts[0];
    parts.erase(parts.begin());
  }
  std::vector<double> numbers(parts.size());
  for (size_t i = 0; i < parts.size(); ++i) {
    if (!absl::SimpleAtod(parts[i], &numbers[i])) return BadLength(option, text);
  }
  LengthDistribution lengths;
  lengths.first_ = numbers.front();
  lengths.longest_ = kLongestTokens;
  if (!IsLength(lengths.first_)) return BadLength(option, text);
  if (kind == "uniform") {
    lengths.second_ = numbers.back();
    const bool whole =
        std::floor(numbers.front()) == numbers.front() && std::floor(numbers.back()) == numbers.back();
    const bool named = absl::StrContains(ToAbsl(text), ':');
    if (!whole || numbers.size() != (named ? 2 : 1) || lengths.second_ < lengths.first_ ||
        !IsLength(lengths.second_)) {
      return BadLength(option, text);
    }
    return lengths;
  }
  if ((kind != "normal" && kind != "lognormal") || numbers.size() < 2 || numbers.size() > 3) {
    return BadLength(option, text);
  }
  lengths.kind_ = kind == "normal" ? Kind::kNormal : Kind::kLognormal;
  lengths.second_ = numbers[1];
  if (numbers.size() == 3) lengths.longest_ = numbers[2];
  if (!(lengths.second_ >= 0 && lengths.second_ <= kLongestTokens) || !IsLength(lengths.longest_)) {
    return BadLength(option, text);
  }
  if (lengths.kind_ == Kind::kLognormal) {
    const double ratio = lengths.second_ / lengths.first_;
    const double variance = std::log1p(ratio * ratio);
    lengths.first_ = std::log(lengths.first_) - variance / 2;
    lengths.second_ = std::sqrt(variance);
  }
  return lengths;
}

int64_t LengthDistribution::Draw(BenchRandom& random) const {
  if (kind_ == Kind::kUniform) {
    return random.Integer(static_cast<int64_t>(first_), static_cast<int64_t>(second_));
  }
  double length = first_ + second_ * random.Normal();
  if (kind_ == Kind::kLognormal) length = std::exp(length);
  return static_cast<int64_t>(std::llround(std::clamp(length, 1.0, longest_)));
}

absl::StatusOr<std::vector<FilePrompt>> ReadPrompts(std::string_view name, std::istream& lines) {
  std::vector<FilePrompt> prompts;
  std::vector<std::string> errors;
  int64_t number = 0;
  for (std::string line; std::getline(lines, line);) {
    ++number;
    if (line.find_first_not_of(" \t\r") == line.npos) continue;
    const std::string error = ReadPrompt(line, &prompts.emplace_back());
    if (!error.empty()) errors.push_back(absl::StrCat(ToAbsl(name), ":", number, ": ", error));
  }
  if (!errors.empty()) return absl::InvalidArgumentError(absl::StrJoin(errors, "\n"));
  if (prompts.empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat(ToAbsl(name), " holds no prompt; write a line {\"prompt\": \"a text\"} for each"));
  }
  return prompts;
}

absl::StatusOr<Workload> Workload::Make(const WorkloadOptions& options) {
  Workload workload;
  workload.options_ = options;
  if (!options.prompts.empty()) {
    std::ifstream file(options.prompts);
    if (!file) return absl::NotFoundError(absl::StrCat("--prompts ", options.prompts, ": cannot be read"));
    TERNION_ASSIGN_OR_RETURN(workload.file_, ReadPrompts(options.prompts, file));
  }
  TERNION_RETURN_IF_ERROR(workload.ParseSharedPrefix());
  if (options.vocab <= kLowestId) {
    return absl::InvalidArgumentError(absl::StrCat("--vocab ", options.vocab, " must be above ", kLowestId));
  }
  TERNION_RETURN_IF_ERROR(workload.MakeLengths());
  return workload;
}

absl::Status Workload::MakeLengths() {
  TERNION_ASSIGN_OR_RETURN(const auto inputs, LengthDistribution::Parse("--input-len", options_.input_len));
  TERNION_ASSIGN_OR_RETURN(const auto outputs,
                           LengthDistribution::Parse("--output-len", options_.output_len));
  int64_t requests = options_.requests;
  if (requests == 0) requests = file_.empty() ? kDefaultRequests : static_cast<int64_t>(file_.size());
  BenchRandom input_random(options_.seed, kInputLens);
  BenchRandom output_random(options_.seed, kOutputLens);
  for (int64_t i = 0; i < requests; ++i) {
    const int64_t drawn = outputs.Draw(output_random);
    const int64_t given = file_.empty() ? 0 : file_[i % file_.size()].output_len;
    output_lens_.push_back(given > 0 ? given : drawn);
    if (file_.empty()) input_lens_.push_back(inputs.Draw(input_random));
  }
  if (input_lens_.empty()) return absl::OkStatus();
  const int64_t longest = *std::max_element(input_lens_.begin(), input_lens_.end());
  if (prefix_tokens_ > longest) {
    return absl::InvalidArgumentError(absl::StrCat("--shared-prefix ", prefix_tokens_,
                                                   ": the longest prompt has ", longest,
                                                   " tokens; lower it, or raise --input-len"));
  }
  return absl::OkStatus();
}

absl::Status Workload::ParseSharedPrefix() {
  absl::string_view number = options_.shared_prefix;
  const bool percent = !number.empty() && number.back() == '%';
  if (percent) {
    number.remove_suffix(1);
    if (absl::SimpleAtod(number, &prefix_share_) && prefix_share_ >= 0 && prefix_share_ <= 100) {
      prefix_share_ /= 100;
      return absl::OkStatus();
    }
  } else if (absl::SimpleAtoi(number, &prefix_tokens_) && prefix_tokens_ >= 0) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(absl::StrCat("--shared-prefix ", options_.shared_prefix,
                                                 ": write tokens (200), or a share of every prompt (50%)"));
}

int64_t Workload::PrefixOf(int64_t length) const {
  const auto share = static_cast<int64_t>(prefix_share_ * static_cast<double>(length));
  return std::min(length, std::max(share, prefix_tokens_));
}

int64_t Workload::input_len(int64_t request) const {
  if (!file_.empty()) return file_[request % file_.size()].tokens;
  return options_.prompt_kind == "ids" ? input_lens_[request] : 0;
}

std::string Workload::Unit(uint64_t bits) const {
  if (options_.prompt_kind != "ids") return std::string(kWords[bits % kWords.size()]);
  return std::to_string(kLowestId + static_cast<int64_t>(bits % (options_.vocab - kLowestId)));
}

std::string Workload::Prompt(int64_t request) const {
  if (!file_.empty()) return file_[request % file_.size()].json;
  const bool ids = options_.prompt_kind == "ids";
  const int64_t length = input_lens_[request];
  const int64_t prefix = PrefixOf(length);
  BenchRandom common(options_.seed, kSharedPrefix);
  BenchRandom own(options_.seed, kPrompts + request);
  std::string prompt = ids ? "[" : "\"";
  for (int64_t i = 0; i < length; ++i) {
    if (i > 0) prompt += ids ? ',' : ' ';
    prompt += Unit(i < prefix ? common.Bits() : own.Bits());
  }
  return prompt + (ids ? "]" : "\"");
}

std::vector<double> PoissonArrivals(double rate, int64_t requests, uint64_t seed) {
  BenchRandom random(seed, kArrivals);
  std::vector<double> times;
  double now = 0;
  for (int64_t i = 0; i < requests; ++i) {
    times.push_back(now);
    now += random.Exponential() / rate;
  }
  return times;
}

}  // namespace ternion
