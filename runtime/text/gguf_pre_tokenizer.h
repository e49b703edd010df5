#pragma once

#include <nlohmann/json.hpp>
#include <string_view>

namespace ternion {

// What a value of tokenizer.ggml.pre stands for.
struct GgufPreTokenizer {
  static constexpr int kMostCuts = 4;

  std::string_view name;
  bool ignore_merges;                // a word that is a token is that token
  bool add_bos;                      // where the file does not say
  const char* cuts[kMostCuts] = {};  // regular expressions in turn, each on the pieces of the one before
};

// Null when the name is not known.
const GgufPreTokenizer* FindGgufPreTokenizer(std::string_view name);

// The same as the pre_tokenizer of a tokenizer.json.
nlohmann::json PreTokenizerJson(const GgufPreTokenizer& pre_tokenizer);

}  // namespace ternion
