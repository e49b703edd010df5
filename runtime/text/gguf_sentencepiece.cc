#include "runtime/text/gguf_sentencepiece.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "kernels/status.h"
#include "runtime/text/metaspace.h"
#include "runtime/text/sentencepiece_tokenizer.h"

namespace ternion {
namespace {

constexpr char kTokens[] = "tokenizer.ggml.tokens";
constexpr char kScores[] = "tokenizer.ggml.scores";
constexpr char kTypes[] = "tokenizer.ggml.token_type";
constexpr int64_t kLlamaUnknown = 0;
constexpr int64_t kLlamaBos = 1;
constexpr int64_t kLlamaEos = 2;

class ModelReader {
 public:
  explicit ModelReader(const Gguf& gguf)
      : metadata_(gguf.metadata()), fields_(metadata_.fields()), where_(gguf.where()) {}

  absl::StatusOr<std::unique_ptr<Tokenizer>> Read() {
    model_.kind = SentencePieceModel::Kind::kBpe;
    TERNION_RETURN_IF_ERROR(ReadPieces());
    TERNION_RETURN_IF_ERROR(ReadUnknown());
    TERNION_RETURN_IF_ERROR(ReadSpaces());
    TERNION_RETURN_IF_ERROR(ReadAround());
    AddUserDefined();
    return MakeSentencePieceTokenizer(std::move(model_), settings_,
                                      absl::StrCat(where_, ": the tokenizer that tokenizer.ggml.* describe"));
  }

 private:
  absl::Status ReadPieces() {
    TERNION_ASSIGN_OR_RETURN(const auto tokens, metadata_.Strings(kTokens));
    TERNION_ASSIGN_OR_RETURN(const std::vector<float> scores, metadata_.Floats(kScores));
    TERNION_ASSIGN_OR_RETURN(const std::vector<int32_t> types, metadata_.Ints(kTypes));
    const std::string right = absl::StrCat("there are ", tokens.size(), " tokens, and each has one");
    if (scores.size() != tokens.size()) return fields_.Wrong(kScores, right);
    if (types.size() != tokens.size()) return fields_.Wrong(kTypes, right);
    for (size_t id = 0; id < tokens.size(); ++id) {
      if (types[id] < static_cast<int32_t>(PieceType::kNormal) ||
          types[id] > static_cast<int32_t>(PieceType::kByte)) {
        return fields_.Wrong(kTypes,
                             absl::StrCat("token ", id, " has the type ", types[id], "; types are 1 to 6"));
      }
      const auto type = static_cast<PieceType>(types[id]);
      model_.byte_fallback |= type == PieceType::kByte;
      // Converters write a user-defined piece with spaces.
      model_.pieces.push_back({ReplaceAll(tokens[id], " ", kSpaceMark), scores[id], type});
    }
    return absl::OkStatus();
  }

  // libsentencepiece wants one unknown piece.
  absl::Status ReadUnknown() {
    TERNION_ASSIGN_OR_RETURN(const int64_t unknown, IdOr("tokenizer.ggml.unknown_token_id", kLlamaUnknown));
    for (SentencePiece& piece : model_.pieces) {
      if (piece.type == PieceType::kUnknown) piece.type = PieceType::kControl;
    }
    model_.pieces[unknown].type = PieceType::kUnknown;
    return absl::OkStatus();
  }

  absl::Status ReadSpaces() {
    TERNION_ASSIGN_OR_RETURN(model_.add_dummy_prefix,
                             fields_.BoolOr("tokenizer.ggml.add_space_prefix", true));
    TERNION_ASSIGN_OR_RETURN(model_.remove_extra_whitespaces,
                             fields_.BoolOr("tokenizer.ggml.remove_extra_whitespaces", false));
    return absl::OkStatus();
  }

  absl::Status ReadAround() {
    TERNION_ASSIGN_OR_RETURN(const bool bos, fields_.BoolOr("tokenizer.ggml.add_bos_token", true));
    TERNION_ASSIGN_OR_RETURN(const bool eos, fields_.BoolOr("tokenizer.ggml.add_eos_token", false));
    TERNION_RETURN_IF_ERROR(ReadControl("tokenizer.ggml.bos_token_id", kLlamaBos, bos, settings_.bos_id));
    return ReadControl("tokenizer.ggml.eos_token_id", kLlamaEos, eos, settings_.eos_id);
  }

  // Whatever type the file gives it, no text becomes it.
  absl::Status ReadControl(const char* key, int64_t absent, bool wanted, int32_t& id) {
    if (!wanted && !fields_.Has(key)) return absl::OkStatus();
    TERNION_ASSIGN_OR_RETURN(const int64_t known, IdOr(key, absent));
    if (!model_.pieces[known].is_special()) model_.pieces[known].type = PieceType::kControl;
    if (wanted) id = static_cast<int32_t>(known);
    return absl::OkStatus();
  }

  absl::StatusOr<int64_t> IdOr(const char* key, int64_t absent) const {
    const auto last = static_cast<int64_t>(model_.pieces.size()) - 1;
    if (!fields_.Has(key) && absent <= last) return absent;
    return fields_.Int(key, 0, last);
  }

  // Those with spaces are left to libsentencepiece, which looks for user-defined pieces too.
  void AddUserDefined() {
    for (size_t id = 0; id < model_.pieces.size(); ++id) {
      const SentencePiece& piece = model_.pieces[id];
      if (piece.type != PieceType::kUserDefined || piece.text.find(kSpaceMark) != std::string::npos) continue;
      settings_.added_tokens.push_back({{"id", id},
                                        {"content", piece.text},
                                        {"single_word", false},
                                        {"lstrip", false},
                                        {"rstrip", false},
                                        {"normalized", false},
                                        {"special", false}});
    }
  }

  const GgufMetadata& metadata_;
  const JsonFields fields_;
  const std::string& where_;
  SentencePieceModel model_;
  SentencePieceSettings settings_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Tokenizer>> MakeGgufSentencePieceTokenizer(const Gguf& gguf) {
  return ModelReader(gguf).Read();
}

}  // namespace ternion
