#include "runtime/text/tokenizer.h"

#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "kernels/status.h"
#include "runtime/text/added_tokens.h"
#include "runtime/text/bpe.h"
#include "runtime/text/json_node.h"
#include "runtime/text/post_processor.h"
#include "runtime/text/pre_tokenizer.h"
#include "runtime/text/utf8.h"
#include "runtime/text/vocabulary.h"

namespace ternion {
namespace {

// Words that were encoded in this call are copied from where their ids stand. Bounds, so that a text without
// repetition does not cost memory and hashing for nothing.
constexpr size_t kMaxRememberedWords = size_t{1} << 16;
constexpr size_t kMaxRememberedBytes = 64;

absl::Status CheckText(std::string_view text) {
  const size_t invalid = FindInvalidUtf8(text);
  if (invalid == std::string_view::npos) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("the text is not UTF-8 at byte ", invalid));
}

struct Parts {
  Vocabulary vocabulary;
  AddedTokens added;
  PreTokenizer pre_tokenizer;
  PostProcessor post_processor;
};

// One call of Encode.
class Encoder {
 public:
  Encoder(const PreTokenizer& pre_tokenizer, const Bpe& bpe, std::vector<int32_t>& ids)
      : cutter_(pre_tokenizer), bpe_(bpe), ids_(ids) {}

  absl::Status Append(std::string_view text) {
    TERNION_ASSIGN_OR_RETURN(const std::vector<std::string_view> words, cutter_.Cut(text));
    for (const std::string_view word : words) AppendWord(word);
    return absl::OkStatus();
  }

 private:
  struct Place {
    size_t begin;
    size_t end;
  };

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

  WordCutter cutter_;
  const Bpe& bpe_;
  std::vector<int32_t>& ids_;
  absl::flat_hash_map<absl::string_view, Place> places_;  // of words in the text or in the cutter
};

class BpeTokenizer : public Tokenizer {
 public:
  static absl::StatusOr<std::unique_ptr<Tokenizer>> Make(Parts parts, const JsonNode& model) {
    std::unique_ptr<BpeTokenizer> tokenizer(new BpeTokenizer(std::move(parts)));
    TERNION_ASSIGN_OR_RETURN(Bpe bpe, Bpe::FromJson(model, tokenizer->parts_.vocabulary));
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
    TERNION_RETURN_IF_ERROR(CheckText(text));
    std::vector<int32_t> ids;
    if (!text.empty()) TERNION_RETURN_IF_ERROR(Encoder(parts_.pre_tokenizer, *bpe_, ids).Append(text));
    return ids;
  }

  std::string Decode(absl::Span<const int32_t> ids, bool skip_special) const override {
    std::string bytes;
    for (const int32_t id : ids) {
      if (!skip_special || !IsSpecial(id)) bytes += TokenBytes(id);
    }
    return bytes;
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
    TERNION_RETURN_IF_ERROR(CheckText(text));
    Encoder encoder(parts_.pre_tokenizer, *bpe_, ids);
    for (const TextPart& part : parts_.added.Split(text, plain)) {
      if (part.id >= 0) {
        ids.push_back(part.id);
      } else {
        TERNION_RETURN_IF_ERROR(encoder.Append(part.text));
      }
    }
    return absl::OkStatus();
  }

  Parts parts_;
  std::unique_ptr<const Bpe> bpe_;
};

absl::Status CheckDecoder(const JsonNode& root) {
  TERNION_ASSIGN_OR_RETURN(const JsonNode decoder, root.Field("decoder"));
  TERNION_ASSIGN_OR_RETURN(const std::string type, decoder.String("type"));
  if (type == "ByteLevel") return absl::OkStatus();
  return decoder.Unimplemented(absl::StrCat("decoder \"", type, "\" is not supported; ByteLevel is"));
}

absl::Status CheckNormalizer(const JsonNode& root) {
  if (!root.Has("normalizer")) return absl::OkStatus();
  TERNION_ASSIGN_OR_RETURN(const JsonNode normalizer, root.Field("normalizer"));
  TERNION_ASSIGN_OR_RETURN(const std::string type, normalizer.String("type"));
  return normalizer.Unimplemented(absl::StrCat("normalizer \"", type, "\" is not supported; null is"));
}

absl::StatusOr<Parts> ReadParts(const JsonNode& root, const JsonNode& model) {
  TERNION_ASSIGN_OR_RETURN(const JsonNode vocab, model.Field("vocab"));
  TERNION_ASSIGN_OR_RETURN(Vocabulary vocabulary, Vocabulary::FromJson(vocab));
  TERNION_ASSIGN_OR_RETURN(const JsonNode tokens, root.Field("added_tokens"));
  TERNION_ASSIGN_OR_RETURN(AddedTokens added, AddedTokens::FromJson(tokens, vocabulary));
  TERNION_ASSIGN_OR_RETURN(const JsonNode pre, root.Field("pre_tokenizer"));
  TERNION_ASSIGN_OR_RETURN(PreTokenizer pre_tokenizer, PreTokenizer::FromJson(pre));
  PostProcessor post_processor;
  if (root.Has("post_processor")) {
    TERNION_ASSIGN_OR_RETURN(const JsonNode post, root.Field("post_processor"));
    TERNION_ASSIGN_OR_RETURN(post_processor, PostProcessor::FromJson(post, vocabulary));
  }
  return Parts{std::move(vocabulary), std::move(added), std::move(pre_tokenizer), std::move(post_processor)};
}

}  // namespace

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::Load(const std::filesystem::path& file) {
  TERNION_ASSIGN_OR_RETURN(const nlohmann::json document, ReadJsonFile(file));
  return FromJson(document, file.string());
}

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::FromJson(const nlohmann::json& document,
                                                               std::string where) {
  const JsonNode root(document, std::move(where));
  TERNION_RETURN_IF_ERROR(CheckNormalizer(root));
  TERNION_RETURN_IF_ERROR(CheckDecoder(root));
  TERNION_ASSIGN_OR_RETURN(const JsonNode model, root.Field("model"));
  TERNION_ASSIGN_OR_RETURN(Parts parts, ReadParts(root, model));
  return BpeTokenizer::Make(std::move(parts), model);
}

}  // namespace ternion
