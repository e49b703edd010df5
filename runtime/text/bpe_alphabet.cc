#include "runtime/text/bpe_alphabet.h"

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "kernels/status.h"
#include "runtime/text/utf8.h"

namespace ternion {

// Of one word. An unknown token is held back until a known character, or the end, comes: bytes pass it, as in `tokenizers`.
class BpeAlphabet::Writer {
 public:
  Writer(const BpeAlphabet& alphabet, std::vector<int32_t>& symbols)
      : alphabet_(alphabet), symbols_(symbols) {}

  void Take(std::string_view character) {
    if (const int32_t id = alphabet_.Find(character); id >= 0) {
      FlushUnknown();
      symbols_.push_back(id);
    } else if (!TakeBytes(character) && alphabet_.unknown_ >= 0) {
      if (!alphabet_.fuse_unknown_) FlushUnknown();
      unknown_ = true;
    }
  }

  void FlushUnknown() {
    if (unknown_) symbols_.push_back(alphabet_.unknown_);
    unknown_ = false;
  }

 private:
  // All of them or none.
  bool TakeBytes(std::string_view character) {
    const auto token = [this](char byte) { return alphabet_.byte_tokens_[static_cast<uint8_t>(byte)]; };
    if (std::any_of(character.begin(), character.end(), [&](char byte) { return token(byte) < 0; }))
      return false;
    for (const char byte : character) symbols_.push_back(token(byte));
    return true;
  }

  const BpeAlphabet& alphabet_;
  std::vector<int32_t>& symbols_;
  bool unknown_ = false;
};

absl::StatusOr<BpeAlphabet> BpeAlphabet::FromJson(const JsonNode& model, const Vocabulary& vocabulary,
                                                  bool byte_level) {
  BpeAlphabet alphabet;
  alphabet.byte_level_ = byte_level;
  TERNION_RETURN_IF_ERROR(alphabet.ReadUnknown(model, vocabulary));
  TERNION_ASSIGN_OR_RETURN(const bool byte_fallback, model.BoolOr("byte_fallback", false));
  alphabet.ReadCharacters(vocabulary);
  alphabet.byte_tokens_.fill(-1);
  if (!byte_fallback) return alphabet;
  const bool all = std::count(alphabet.bytes_.begin(), alphabet.bytes_.end(), -1) == 0;
  if (byte_level && !all) {
    return model.Unimplemented("byte_fallback is not supported beside a ByteLevel that lacks bytes");
  }
  if (!byte_level) alphabet.ReadByteTokens(vocabulary);
  return alphabet;
}

absl::Status BpeAlphabet::ReadUnknown(const JsonNode& model, const Vocabulary& vocabulary) {
  TERNION_ASSIGN_OR_RETURN(fuse_unknown_, model.BoolOr("fuse_unk", false));
  if (!model.Has("unk_token")) return absl::OkStatus();
  TERNION_ASSIGN_OR_RETURN(const std::string token, model.String("unk_token"));
  if (token.empty()) return absl::OkStatus();
  const std::optional<int32_t> id = vocabulary.FindSpelling(token);
  if (!id.has_value())
    return model.Invalid(absl::StrCat("unk_token \"", token, "\" is not in the vocabulary"));
  unknown_ = *id;
  return absl::OkStatus();
}

void BpeAlphabet::ReadCharacters(const Vocabulary& vocabulary) {
  for (int byte = 0; byte < 256; ++byte) {
    const char text = static_cast<char>(byte);
    bytes_[byte] = byte_level_ || byte < 0x80 ? vocabulary.Find({&text, 1}).value_or(-1) : -1;
  }
  if (byte_level_) return;
  vocabulary.ForEachWord([&](std::string_view word, int32_t id) {
    if (word.size() < 2 || FirstUtf8(word).bytes != word.size() || vocabulary.IsSpecial(id)) return;
    characters_.emplace(FirstCodePoint(word), id);
  });
}

void BpeAlphabet::ReadByteTokens(const Vocabulary& vocabulary) {
  for (int byte = 0; byte < 256; ++byte) {
    byte_tokens_[byte] = vocabulary.Find(absl::StrFormat("<0x%02X>", byte)).value_or(-1);
  }
}

int32_t BpeAlphabet::Find(std::string_view character) const {
  if (character.size() == 1) return bytes_[static_cast<uint8_t>(character[0])];
  const auto found = characters_.find(FirstCodePoint(character));
  return found == characters_.end() ? -1 : found->second;
}

void BpeAlphabet::Append(std::string_view word, std::vector<int32_t>& symbols) const {
  Writer writer(*this, symbols);
  for (size_t at = 0; at < word.size();) {
    const size_t bytes = byte_level_ ? 1 : FirstUtf8(word.substr(at)).bytes;
    writer.Take(word.substr(at, bytes));
    at += bytes;
  }
  writer.FlushUnknown();
}

}  // namespace ternion
