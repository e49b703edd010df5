#pragma once

#include <cstdint>
#include <istream>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

// What `ternion bench serve` sends, and when. All of it follows from the seed, on every machine: the standard
// library's distributions differ from one library to the next.
namespace ternion {

// SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014). Streams of one seed
// are independent, so that a draw for one purpose shifts none of another.
class BenchRandom {
 public:
  BenchRandom(uint64_t seed, uint64_t stream);

  uint64_t Bits();
  double Uniform();                            // [0, 1)
  int64_t Integer(int64_t low, int64_t high);  // both included
  double Exponential();                        // mean 1
  double Normal();                             // mean 0, standard deviation 1

 private:
  uint64_t state_;
};

// How many tokens: "N", "uniform:A:B" (both included), "normal:MEAN:STDDEV" or "lognormal:MEAN:STDDEV", whose
// mean and deviation are those of the lengths themselves. A third number of the last two is the longest:
// "lognormal:512:400:2048". Draws are cut to at least 1 and at most the longest.
class LengthDistribution {
 public:
  // kInvalidArgument names the option.
  static absl::StatusOr<LengthDistribution> Parse(std::string_view option, std::string_view text);

  int64_t Draw(BenchRandom& random) const;

 private:
  enum class Kind : uint8_t { kUniform, kNormal, kLognormal };

  Kind kind_ = Kind::kUniform;
  double first_ = 0;   // the least; the mean; the logarithm's mean
  double second_ = 0;  // the most; the standard deviation; the logarithm's
  double longest_ = 0;
};

struct WorkloadOptions {
  int64_t requests = 0;  // 0: one for each line of `prompts`, else 100
  std::string input_len = "512";
  std::string output_len = "128";
  std::string shared_prefix =
      "0";              // tokens that begin every prompt, counted in its length; or its share: "50%"
  std::string prompts;  // a JSONL file; empty: made up
  std::string prompt_kind = "ids";  // of made-up ones: ids, or text, whose lengths count words
  int64_t vocab = 4000;             // ids are below
  uint64_t seed = 0;
};

// A line of a prompt file.
struct FilePrompt {
  std::string json;        // the prompt as it is sent: a string, or an array of ids
  int64_t tokens = 0;      // 0: a text, whose tokens only the server can count
  int64_t output_len = 0;  // 0: not given
};

// JSON Lines with "prompt", a string or an array of ids, and optionally "output_len"; other keys and empty
// lines are skipped. kInvalidArgument holds a line "NAME:LINE: what is wrong" for every bad one.
absl::StatusOr<std::vector<FilePrompt>> ReadPrompts(std::string_view name, std::istream& lines);

// The requests of a run. A prompt is made when it is asked for, so that a long run needs no memory for all.
class Workload {
 public:
  // kInvalidArgument, kNotFound.
  static absl::StatusOr<Workload> Make(const WorkloadOptions& options);

  int64_t requests() const { return static_cast<int64_t>(output_lens_.size()); }
  int64_t output_len(int64_t request) const { return output_lens_[request]; }
  // Tokens of the prompt; 0 where only the server can count them.
  int64_t input_len(int64_t request) const;
  // The prompt as JSON.
  std::string Prompt(int64_t request) const;

 private:
  absl::Status MakeLengths();
  absl::Status ParseSharedPrefix();
  int64_t PrefixOf(int64_t length) const;
  std::string Unit(uint64_t bits) const;  // an id, or a word

  WorkloadOptions options_;
  std::vector<FilePrompt> file_;
  std::vector<int64_t> input_lens_;  // of made-up prompts
  std::vector<int64_t> output_lens_;
  double prefix_share_ = 0;
  int64_t prefix_tokens_ = 0;
};

// Seconds at which `requests` Poisson arrivals of `rate` a second come, the first at 0.
std::vector<double> PoissonArrivals(double rate, int64_t requests, uint64_t seed);

}  // namespace ternion
