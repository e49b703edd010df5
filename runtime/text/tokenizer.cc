#include "runtime/text/tokenizer.h"

#include <deque>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "kernels/status.h"
#include "runtime/text/added_tokens.h"
#include "runtime/text/bpe.h"
#include "runtime/text/json_node.h"
#include "runtime/text/normalizer.h"
#include "runtime/text/post_processor.h"
#include "runtime/text/pre_tokenizer.h"
#include "runtime/text/text_edit.h"
#include "runtime/text/token_decoder.h"
#include "runtime/text/utf8.h"
#include "runtime/text/vocabulary.h"

namespace ternion {
namespace {

// Words that were encoded in this call are copied from where their ids stand. Bounds, so that a text without
// repetition does not cost memory and hashing for nothing.
constexpr size_t kMaxRememberedWords = size_t{1} << 16;
constexpr size_t kMaxRememberedBytes = 64;

struct Parts {
  Normalizer normalizer;
  PreTokenizer pre_tokenizer;
  TokenDecoder decoder;
  Vocabulary vocabulary;
  AddedTokens added;
  PostProcessor post_processor;
};

// One call of Encode.
class Encoder {
 public:
  Encoder(const Parts& parts, const Bpe& bpe, std::vector<int32_t>& ids)
      : parts_(parts), cutter_(parts.pre_tokenizer), bpe_(bpe), ids_(ids) {}

  // All of a text; ranges `plain` as of EncodeMixed.
  absl::Status AppendMixed(std::string_view text, absl::Span<const TextRange> plain) {
    for (const TextPart& part : parts_.added.Split(text, plain)) {
      if (part.id >= 0) {
        ids_.push_back(part.id);
      } else {
        const size_t begin = static_cast<size_t>(part.text.data() - text.data());
        TERNION_RETURN_IF_ERROR(
            AppendRest(part.text, RangesWithin(plain, {begin, begin + part.text.size()}), begin == 0));
      }
    }
    return absl::OkStatus();
  }

  // `at_start`: nothing stands before the text.
  absl::Status AppendPlain(std::string_view text, bool at_start) {
    if (!parts_.normalizer.empty()) {
      TERNION_ASSIGN_OR_RETURN(text, Normalize(text, nullptr));
    }
    return text.empty() ? absl::OkStatus() : AppendWords(text, at_start);
  }

 private:
  struct Place {
    size_t begin;
    size_t end;
  };

  // What the first pass of added tokens left.
  absl::Status AppendRest(std::string_view text, std::vector<TextRange> plain, bool at_start) {
    if (!parts_.added.any_normalized()) return AppendPlain(text, at_start);
    if (!parts_.normalizer.empty()) {
      TERNION_ASSIGN_OR_RETURN(text, Normalize(text, &plain));
    }
    for (const TextPart& part : parts_.added.SplitNormalized(text, plain)) {
      if (part.id >= 0) {
        ids_.push_back(part.id);
      } else {
        TERNION_RETURN_IF_ERROR(AppendWords(part.text, at_start && part.text.data() == text.data()));
      }
    }
    return absl::OkStatus();
  }

  absl::StatusOr<std::string_view> Normalize(std::string_view text, std::vector<TextRange>* plain) {
    TERNION_ASSIGN_OR_RETURN(normalized_.emplace_back(), parts_.normalizer.Normalize(text, plain));
    return normalized_.back();
  }

  absl::Status AppendWords(std::string_view text, bool at_start) {
    TERNION_ASSIGN_OR_RETURN(const std::vector<std::string_view> words, cutter_.Cut(text, at_start));
    for (const std::string_view word : words) AppendWord(word);
    return absl::OkStatus();
  }

  void AppendWord(std::string_view word) {
    if (const int32_t whole = bpe_.WholeWord(word); whole >= 0) return ids_.push_back(whole);
    const auto known = places_.find(ToAbsl(word));
    if (known != places_.end()) return Repeat(known->second);
    const size_t begin = ids_.size();
    bpe_.Encode(word, ids_);
    if (word.size() > kMaxRememberedBytes || places_.size() >= kMaxRememberedWords) return;
    places_.emplace(ToAbsl(word), Place{begin, ids_.size()});
  }

  void Repeat(Place place) {
    for (size_t i = place.begin; i < place.end; ++i) ids_.push_back(ids_[i]);
  }

  const Parts& parts_;
  WordCutter cutter_;
  const Bpe& bpe_;
  std::vector<int32_t>& ids_;
  absl::flat_hash_map<absl::string_view, Place> places_;  // of words in the text, below or in the cutter
  std::deque<std::string> normalized_;
};

class BpeTokenizer : public Tokenizer {
 public:
  static absl::StatusOr<std::unique_ptr<Tokenizer>> Make(Parts parts, const JsonNode& model) {
    std::unique_ptr<BpeTokenizer> tokenizer(new BpeTokenizer(std::move(parts)));
    const bool byte_level = tokenizer->parts_.pre_tokenizer.byte_level();
    TERNION_ASSIGN_OR_RETURN(Bpe bpe, Bpe::FromJson(model, tokenizer->parts_.vocabulary, byte_level));
    tokenizer->bpe_ = std::make_unique<const Bpe>(std::move(bpe));
    return tokenizer;
  }

  absl::StatusOr<std::vector<int32_t>> Encode(std::string_view text, bool add_special) const override {
    std::vector<int32_t> ids;
    const PostProcessor& around = parts_.post_processor;
    if (add_special) ids = around.before;
    TERNION_RETURN_IF_ERROR(Append(text, {}, ids));
    if (add_special) ids.insert(ids.end(), around.after.begin(), around.after.end());
    return ids;
  }

  absl::StatusOr<std::vector<int32_t>> EncodeMixed(std::string_view text,
                                                   absl::Span<const TextRange> plain) const override {
    std::vector<int32_t> ids;
    TERNION_RETURN_IF_ERROR(Append(text, plain, ids));
    return ids;
  }

  absl::StatusOr<std::vector<int32_t>> EncodePlain(std::string_view text) const override {
    TERNION_RETURN_IF_ERROR(CheckUtf8(text));
    std::vector<int32_t> ids;
    if (!text.empty()) {
      TERNION_RETURN_IF_ERROR(Encoder(parts_, *bpe_, ids).AppendPlain(text, /*at_start=*/true));
    }
    return ids;
  }

  std::string Decode(absl::Span<const int32_t> ids, bool skip_special) const override {
    std::string bytes;
    size_t first_token = 0;
    for (const int32_t id : ids) {
      if (skip_special && IsSpecial(id)) continue;
      bytes += TokenBytes(id);
      if (first_token == 0) first_token = bytes.size();
    }
    return bytes.erase(0, parts_.decoder.Leading(bytes, first_token));
  }

  std::string_view TokenBytes(int32_t id) const override { return parts_.vocabulary.Bytes(id); }
  bool IsSpecial(int32_t id) const override { return parts_.vocabulary.IsSpecial(id); }
  std::optional<int32_t> TokenId(std::string_view content) const override {
    return parts_.vocabulary.FindSpelling(content);
  }
  int64_t vocab_size() const override { return parts_.vocabulary.size(); }

 private:
  explicit BpeTokenizer(Parts parts) : parts_(std::move(parts)) {}

  absl::Status Append(std::string_view text, absl::Span<const TextRange> plain,
                      std::vector<int32_t>& ids) const {
    TERNION_RETURN_IF_ERROR(CheckUtf8(text));
    return Encoder(parts_, *bpe_, ids).AppendMixed(text, plain);
  }

  Parts parts_;
  std::unique_ptr<const Bpe> bpe_;
};

// Words and tokens must be spelled alike.
absl::Status CheckSpelling(const JsonNode& root, const Parts& parts) {
  if (parts.pre_tokenizer.byte_level() == parts.decoder.byte_level()) return absl::OkStatus();
  return root.Unimplemented(
      "a pre-tokenizer and a decoder of which one alone is ByteLevel are not supported");
}

absl::StatusOr<Parts> ReadParts(const JsonNode& root, const JsonNode& model) {
  Parts parts;
  if (root.Has("normalizer")) {
    TERNION_ASSIGN_OR_RETURN(const JsonNode normalizer, root.Field("normalizer"));
    TERNION_ASSIGN_OR_RETURN(parts.normalizer, Normalizer::FromJson(normalizer));
  }
  TERNION_ASSIGN_OR_RETURN(const JsonNode decoder, root.Field("decoder"));
  TERNION_ASSIGN_OR_RETURN(parts.decoder, TokenDecoder::FromJson(decoder));
  TERNION_ASSIGN_OR_RETURN(const JsonNode pre, root.Field("pre_tokenizer"));
  TERNION_ASSIGN_OR_RETURN(parts.pre_tokenizer, PreTokenizer::FromJson(pre));
  TERNION_RETURN_IF_ERROR(CheckSpelling(root, parts));
  TERNION_ASSIGN_OR_RETURN(const JsonNode vocab, model.Field("vocab"));
  TERNION_ASSIGN_OR_RETURN(parts.vocabulary,
                           Vocabulary::FromJson(vocab, parts.decoder, parts.pre_tokenizer.byte_level()));
  TERNION_ASSIGN_OR_RETURN(const JsonNode tokens, root.Field("added_tokens"));
  TERNION_ASSIGN_OR_RETURN(parts.added, AddedTokens::FromJson(tokens, parts.normalizer, parts.vocabulary));
  if (root.Has("post_processor")) {
    TERNION_ASSIGN_OR_RETURN(const JsonNode post, root.Field("post_processor"));
    TERNION_ASSIGN_OR_RETURN(parts.post_processor, PostProcessor::FromJson(post, parts.vocabulary));
  }
  return parts;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::Load(const std::filesystem::path& file) {
  TERNION_ASSIGN_OR_RETURN(const nlohmann::json document, ReadJsonFile(file));
  return FromJson(document, file.string());
}

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::FromJson(const nlohmann::json& document,
                                                               std::string where) {
  const JsonNode root(document, std::move(where));
  TERNION_ASSIGN_OR_RETURN(const JsonNode model, root.Field("model"));
  TERNION_RETURN_IF_ERROR(Bpe::CheckType(model));
  TERNION_ASSIGN_OR_RETURN(Parts parts, ReadParts(root, model));
  return BpeTokenizer::Make(std::move(parts), model);
}

}  // namespace ternion
