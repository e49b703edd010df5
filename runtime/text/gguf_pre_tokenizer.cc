#include "runtime/text/gguf_pre_tokenizer.h"

namespace ternion {
namespace {

// As the models' own tokenizer.json files have them. (Qwen2's also normalizes to NFC, which GGUF does not record and
// llama.cpp does not do.)
constexpr char kGpt2[] = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr char kLlama3[] =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*)"
    R"(|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr char kQwen2[] =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*)"
    R"(|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr char kDigit[] = R"(\p{N})";
constexpr char kDigits[] = R"(\p{N}+)";
constexpr char kThreeDigits[] = "[0-9][0-9][0-9]";
constexpr char kPunctuation[] = R"([\p{P}$+<=>^~|]+)";
constexpr char kFalconPunctuation[] = R"([\p{P}$+<=>^~|`]+)";

// Which name stands for which cut, and what goes with it, as llama.cpp reads them.
constexpr GgufPreTokenizer kKnown[] = {
    {"default", false, false, {kPunctuation, kGpt2, kDigits, kThreeDigits}},
    {"llama-bpe", true, true, {kLlama3}},
    {"llama3", true, true, {kLlama3}},
    {"llama-v3", true, true, {kLlama3}},
    {"falcon3", true, true, {kLlama3}},
    {"falcon-h1", true, true, {kLlama3}},
    {"dbrx", false, false, {kLlama3}},
    {"smaug-bpe", false, false, {kLlama3}},
    {"falcon", false, false, {kFalconPunctuation, kGpt2, kThreeDigits}},
    {"gpt-2", false, false, {kGpt2}},
    {"phi-2", false, false, {kGpt2}},
    {"mpt", false, false, {kGpt2}},
    {"olmo", false, false, {kGpt2}},
    {"starcoder", false, false, {kDigit, kGpt2}},
    {"refact", false, false, {kDigit, kGpt2}},
    {"command-r", false, false, {kDigit, kGpt2}},
    {"smollm", false, false, {kDigit, kGpt2}},
    {"qwen2", false, false, {kQwen2}},
    {"deepseek-r1-qwen", false, false, {kQwen2}},
    {"stablelm2", false, false, {kQwen2}},
};

}  // namespace

const GgufPreTokenizer* FindGgufPreTokenizer(std::string_view name) {
  for (const GgufPreTokenizer& known : kKnown) {
    if (known.name == name) return &known;
  }
  return nullptr;
}

nlohmann::json PreTokenizerJson(const GgufPreTokenizer& pre_tokenizer) {
  nlohmann::json stages = nlohmann::json::array();
  for (const char* cut : pre_tokenizer.cuts) {
    if (cut == nullptr) continue;
    stages.push_back(
        {{"type", "Split"}, {"pattern", {{"Regex", cut}}}, {"behavior", "Isolated"}, {"invert", false}});
  }
  stages.push_back({{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}});
  return {{"type", "Sequence"}, {"pretokenizers", std::move(stages)}};
}

}  // namespace ternion
