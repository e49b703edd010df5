#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/status/statusor.h"
#include "runtime/text/sentencepiece_model.h"
#include "runtime/text/tokenizer.h"

namespace ternion {

// What a model does not say of its tokenizer.
struct SentencePieceSettings {
  int32_t bos_id = -1;  // in front of a text that is encoded with special tokens; -1: nothing
  int32_t eos_id = -1;  // behind it
  // The space in front (add_dummy_prefix) is put before every text that stands between two added tokens, as
  // libsentencepiece, llama.cpp and transformers' legacy tokenizers do, or else only where the whole text begins.
  bool prefix_everywhere = true;
  // In the form of a tokenizer.json's `added_tokens`: what is looked for in a text beside the model's control pieces and its
  // unknown one, or in their place. Pieces that are special here never come out of plain text.
  nlohmann::json added_tokens = nlohmann::json::array();
};

// A SentencePiece model as a tokenizer; text is encoded by libsentencepiece. `where` names the model in errors.
// kInvalidArgument: malformed, or the settings do not fit it; kUnimplemented as SentencePieceModel::Parse.
absl::StatusOr<std::unique_ptr<Tokenizer>> MakeSentencePieceTokenizer(SentencePieceModel model,
                                                                      const SentencePieceSettings& settings,
                                                                      const std::string& where);

// The tokenizer.model of a folder, and of what stands beside it tokenizer_config.json (add_bos_token, add_eos_token, bos_token,
// eos_token, legacy, add_prefix_space, added_tokens_decoder) and added_tokens.json. Errors name the file.
absl::StatusOr<std::unique_ptr<Tokenizer>> LoadSentencePieceTokenizer(const std::filesystem::path& folder);

}  // namespace ternion
