#include "runtime/text/sentencepiece_tokenizer.h"

#include <map>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "kernels/status.h"
#include "runtime/text/added_tokens.h"
#include "runtime/text/metaspace.h"
#include "runtime/text/sentencepiece_encoder.h"
#include "runtime/text/token_decoder.h"
#include "runtime/text/utf8.h"
#include "runtime/text/vocabulary.h"

namespace ternion {
namespace {

using nlohmann::json;

// What a piece stands for in a text.
std::string BytesOf(const SentencePiece& piece) {
  if (piece.is_special()) return piece.text;
  if (piece.type == PieceType::kByte) return {*ByteOfSpelling(piece.text)};
  return ReplaceAll(piece.text, kSpaceMark, " ");
}

absl::StatusOr<Vocabulary> MakeVocabulary(const SentencePieceModel& model) {
  Vocabulary vocabulary;
  for (size_t id = 0; id < model.pieces.size(); ++id) {
    const SentencePiece& piece = model.pieces[id];
    TERNION_RETURN_IF_ERROR(
        vocabulary.Add(static_cast<int64_t>(id), piece.text, BytesOf(piece), piece.is_special()));
  }
  return vocabulary;
}

// The special pieces and the settings' tokens, of which the latter count where both name an id.
json AddedTokensOf(const SentencePieceModel& model, const json& more) {
  std::map<int64_t, json> by_id;
  for (size_t id = 0; id < model.pieces.size(); ++id) {
    if (!model.pieces[id].is_special()) continue;
    by_id[static_cast<int64_t>(id)] = {{"id", id},
                                       {"content", model.pieces[id].text},
                                       {"single_word", false},
                                       {"lstrip", false},
                                       {"rstrip", false},
                                       {"normalized", false},
                                       {"special", true}};
  }
  for (const json& token : more) by_id[token.at("id").get<int64_t>()] = token;
  json tokens = json::array();
  for (auto& [id, token] : by_id) tokens.push_back(std::move(token));
  return tokens;
}

// Text must not become the pieces that the settings call special.
void MakeControls(const json& added_tokens, std::vector<SentencePiece>& pieces) {
  for (const json& token : added_tokens) {
    const auto id = token.at("id").get<uint64_t>();
    if (id >= pieces.size() || !token.at("special").get<bool>() || pieces[id].is_special()) continue;
    pieces[id].type = PieceType::kControl;
  }
}

// libsentencepiece takes a character that is a control piece for one, and then fails on the text: it gets another spelling.
void HideShortControls(std::vector<SentencePiece>& pieces) {
  for (size_t id = 0; id < pieces.size(); ++id) {
    SentencePiece& piece = pieces[id];
    if (piece.type == PieceType::kControl && CountCharacters(piece.text) == 1) {
      piece.text = absl::StrCat("<control ", id, ">");
    }
  }
}

class SentencePieceTokenizer : public Tokenizer {
 public:
  SentencePieceTokenizer(const SentencePieceSettings& settings, Vocabulary vocabulary, AddedTokens added)
      : bos_id_(settings.bos_id),
        eos_id_(settings.eos_id),
        prefix_everywhere_(settings.prefix_everywhere),
        vocabulary_(std::move(vocabulary)),
        added_(std::move(added)) {}

  absl::Status LoadEncoders(SentencePieceModel model) {
    HideShortControls(model.pieces);
    drops_one_space_ = model.add_dummy_prefix && !model.remove_extra_whitespaces;
    drops_spaces_ = model.remove_extra_whitespaces;
    TERNION_RETURN_IF_ERROR(LoadInto(model, first_));
    if (prefix_everywhere_) return absl::OkStatus();
    model.add_dummy_prefix = false;
    return LoadInto(model, rest_);
  }

  absl::StatusOr<std::vector<int32_t>> Encode(std::string_view text, bool add_special) const override {
    std::vector<int32_t> ids;
    if (add_special && bos_id_ >= 0) ids.push_back(bos_id_);
    TERNION_RETURN_IF_ERROR(AppendMixed(text, {}, ids));
    if (add_special && eos_id_ >= 0) ids.push_back(eos_id_);
    return ids;
  }

  absl::StatusOr<std::vector<int32_t>> EncodeMixed(std::string_view text,
                                                   absl::Span<const TextRange> plain) const override {
    std::vector<int32_t> ids;
    TERNION_RETURN_IF_ERROR(AppendMixed(text, plain, ids));
    return ids;
  }

  absl::StatusOr<std::vector<int32_t>> EncodePlain(std::string_view text) const override {
    TERNION_RETURN_IF_ERROR(CheckUtf8(text));
    std::vector<int32_t> ids;
    TERNION_RETURN_IF_ERROR(AppendText(text, /*at_start=*/true, ids));
    return ids;
  }

  std::string Decode(absl::Span<const int32_t> ids, bool skip_special) const override {
    std::string bytes;
    for (const int32_t id : ids) {
      if (!skip_special || !IsSpecial(id)) bytes += TokenBytes(id);
    }
    if (drops_spaces_) return bytes.erase(0, std::min(bytes.find_first_not_of(' '), bytes.size()));
    return drops_one_space_ && bytes.starts_with(' ') ? bytes.substr(1) : bytes;
  }

  std::string_view TokenBytes(int32_t id) const override { return vocabulary_.Bytes(id); }
  bool IsSpecial(int32_t id) const override { return vocabulary_.IsSpecial(id); }
  std::optional<int32_t> TokenId(std::string_view content) const override {
    return vocabulary_.FindSpelling(content);
  }
  int64_t vocab_size() const override { return vocabulary_.size(); }

 private:
  static absl::Status LoadInto(const SentencePieceModel& model, SentencePieceEncoder& encoder) {
    std::string error;
    if (encoder.Load(model.Serialize(), &error)) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat("libsentencepiece refuses the model: ", error));
  }

  absl::Status AppendMixed(std::string_view text, absl::Span<const TextRange> plain,
                           std::vector<int32_t>& ids) const {
    TERNION_RETURN_IF_ERROR(CheckUtf8(text));
    for (const TextPart& part : added_.Split(text, plain)) {
      if (part.id >= 0) {
        ids.push_back(part.id);
      } else {
        TERNION_RETURN_IF_ERROR(AppendText(part.text, part.text.data() == text.data(), ids));
      }
    }
    return absl::OkStatus();
  }

  // `at_start`: nothing stands before the text.
  absl::Status AppendText(std::string_view text, bool at_start, std::vector<int32_t>& ids) const {
    const SentencePieceEncoder& encoder = prefix_everywhere_ || at_start ? first_ : rest_;
    std::string error;
    if (encoder.Encode(text, &ids, &error)) return absl::OkStatus();
    return absl::InternalError(absl::StrCat("libsentencepiece fails on this text: ", error));
  }

  int32_t bos_id_;
  int32_t eos_id_;
  bool prefix_everywhere_;
  bool drops_one_space_ = false;  // that the model puts in front
  bool drops_spaces_ = false;     // all of them in front, for the model puts some there and knows none else
  Vocabulary vocabulary_;
  AddedTokens added_;
  SentencePieceEncoder first_;
  SentencePieceEncoder rest_;  // without a space in front; not loaded with prefix_everywhere
};

absl::Status Locate(const absl::Status& status, const std::string& where) {
  return {status.code(), absl::StrCat(where, ": ", status.message())};
}

}  // namespace

absl::StatusOr<std::unique_ptr<Tokenizer>> MakeSentencePieceTokenizer(SentencePieceModel model,
                                                                      const SentencePieceSettings& settings,
                                                                      const std::string& where) {
  if (absl::Status sound = model.Check(); !sound.ok()) return Locate(sound, where);
  absl::StatusOr<Vocabulary> vocabulary = MakeVocabulary(model);
  if (!vocabulary.ok()) return Locate(vocabulary.status(), where);
  MakeControls(settings.added_tokens, model.pieces);
  const json tokens = AddedTokensOf(model, settings.added_tokens);
  TERNION_ASSIGN_OR_RETURN(
      AddedTokens added,
      AddedTokens::FromJson(JsonNode(tokens, where + ": its added tokens"), Normalizer(), *vocabulary));
  auto tokenizer =
      std::make_unique<SentencePieceTokenizer>(settings, *std::move(vocabulary), std::move(added));
  if (absl::Status loaded = tokenizer->LoadEncoders(std::move(model)); !loaded.ok())
    return Locate(loaded, where);
  return tokenizer;
}

}  // namespace ternion
