// A GGUF file keeps what its converter found in a tokenizer.json, in other words: this puts it back, so that one
// tokenizer reads both.
#include "runtime/text/gguf_tokenizer.h"

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "kernels/status.h"
#include "runtime/text/gguf_pre_tokenizer.h"
#include "runtime/text/gguf_sentencepiece.h"
#include "runtime/text/utf8.h"

namespace ternion {
namespace {

using nlohmann::json;

constexpr char kModel[] = "tokenizer.ggml.model";
constexpr char kPre[] = "tokenizer.ggml.pre";
constexpr char kTokens[] = "tokenizer.ggml.tokens";
constexpr char kTypes[] = "tokenizer.ggml.token_type";
constexpr char kMerges[] = "tokenizer.ggml.merges";
constexpr char kChatTemplate[] = "tokenizer.chat_template";
constexpr std::string_view kLlama3Bos = "<|begin_of_text|>";

// Values of tokenizer.ggml.token_type.
enum TokenType : int32_t { kNormal = 1, kUnknown, kControl, kUserDefined, kUnused };

class TokenizerReader {
 public:
  explicit TokenizerReader(const Gguf& gguf)
      : metadata_(gguf.metadata()), fields_(metadata_.fields()), where_(gguf.where()) {}

  absl::StatusOr<std::unique_ptr<Tokenizer>> Read() {
    TERNION_RETURN_IF_ERROR(ReadTokens());
    TERNION_ASSIGN_OR_RETURN(const GgufPreTokenizer* pre, PreTokenizerOf());
    TERNION_ASSIGN_OR_RETURN(json merges, ReadMerges());
    TERNION_ASSIGN_OR_RETURN(json post, PostProcessorOf(*pre));
    const json document = {{"added_tokens", std::move(added_)},
                           {"pre_tokenizer", PreTokenizerJson(*pre)},
                           {"post_processor", std::move(post)},
                           {"decoder", {{"type", "ByteLevel"}}},
                           {"model",
                            {{"type", "BPE"},
                             {"ignore_merges", pre->ignore_merges},
                             {"vocab", std::move(vocab_)},
                             {"merges", std::move(merges)}}}};
    return Tokenizer::FromJson(document,
                               absl::StrCat(where_, ": the tokenizer that tokenizer.ggml.* describe"));
  }

 private:
  absl::Status ReadTokens() {
    TERNION_ASSIGN_OR_RETURN(tokens_, metadata_.Strings(kTokens));
    std::vector<int32_t> types(tokens_.size(), kNormal);
    if (fields_.Has(kTypes)) {
      TERNION_ASSIGN_OR_RETURN(types, metadata_.Ints(kTypes));
    }
    if (types.size() != tokens_.size()) {
      return fields_.Wrong(kTypes, absl::StrCat("there are ", tokens_.size(), " tokens, and each has one"));
    }
    for (size_t id = 0; id < tokens_.size(); ++id) TERNION_RETURN_IF_ERROR(AddToken(id, types[id]));
    return absl::OkStatus();
  }

  // Tokens that fill the vocabulary up ("[PAD128000]") are no part of the tokenizer: no text becomes them.
  absl::Status AddToken(size_t id, int32_t type) {
    const std::string token(tokens_[id]);
    if (FindInvalidUtf8(token) != token.npos) return WrongToken(id, "is not UTF-8");
    if (type < kNormal || type > kUnused) {
      return WrongToken(id, absl::StrCat("has the type ", type, "; byte-level BPE has the types 1 to 5"));
    }
    if (type == kUnused || token.empty()) return absl::OkStatus();
    if (type == kNormal) {
      if (!vocab_.emplace(token, id).second) {
        return WrongToken(id, absl::StrCat("\"", token, "\" is token ", vocab_[token].get<size_t>(), " too"));
      }
      return absl::OkStatus();
    }
    added_.push_back({{"id", id},
                      {"content", token},
                      {"single_word", false},
                      {"lstrip", false},
                      {"rstrip", false},
                      {"normalized", false},
                      {"special", type != kUserDefined}});
    return absl::OkStatus();
  }

  absl::StatusOr<const GgufPreTokenizer*> PreTokenizerOf() const {
    std::string name = "default";
    if (const json* pre = fields_.Find(kPre); pre != nullptr && pre->is_string()) {
      name = pre->get<std::string>();
    } else if (std::find(tokens_.begin(), tokens_.end(), kLlama3Bos) != tokens_.end()) {
      name = "llama-bpe";
    }
    if (const GgufPreTokenizer* known = FindGgufPreTokenizer(name)) return known;
    return fields_.Unsupported(kPre, "this way to cut words is not supported");
  }

  absl::StatusOr<json> ReadMerges() const {
    TERNION_ASSIGN_OR_RETURN(const auto merges, metadata_.Strings(kMerges));
    json list = json::array();
    for (size_t i = 0; i < merges.size(); ++i) {
      if (FindInvalidUtf8(merges[i]) != merges[i].npos) {
        return absl::InvalidArgumentError(
            absl::StrCat(where_, ": ", kMerges, ": merge ", i, " is not UTF-8"));
      }
      list.push_back(std::string(merges[i]));
    }
    return list;
  }

  // A BOS in front and an EOS behind, each if the file, or else the way to cut words, asks for it.
  absl::StatusOr<json> PostProcessorOf(const GgufPreTokenizer& pre) const {
    TERNION_ASSIGN_OR_RETURN(const bool bos, fields_.BoolOr("tokenizer.ggml.add_bos_token", pre.add_bos));
    TERNION_ASSIGN_OR_RETURN(const bool eos, fields_.BoolOr("tokenizer.ggml.add_eos_token", false));
    json before = json::array();
    json after = json::array();
    json specials = json::object();
    const auto add = [&](const char* key, json& side) -> absl::Status {
      TERNION_ASSIGN_OR_RETURN(const int64_t id,
                               fields_.Int(key, 0, static_cast<int64_t>(tokens_.size()) - 1));
      specials[key]["ids"] = std::vector<int64_t>{id};
      side.push_back({{"SpecialToken", {{"id", key}}}});
      return absl::OkStatus();
    };
    if (bos) TERNION_RETURN_IF_ERROR(add("tokenizer.ggml.bos_token_id", before));
    if (eos) TERNION_RETURN_IF_ERROR(add("tokenizer.ggml.eos_token_id", after));
    json single = std::move(before);
    single.push_back({{"Sequence", {{"id", "A"}}}});
    for (json& piece : after) single.push_back(std::move(piece));
    return json{{"type", "TemplateProcessing"},
                {"single", std::move(single)},
                {"special_tokens", std::move(specials)}};
  }

  absl::Status WrongToken(size_t id, std::string_view what) const {
    return absl::InvalidArgumentError(absl::StrCat(where_, ": ", kTokens, ": token ", id, " ", ToAbsl(what)));
  }

  const GgufMetadata& metadata_;
  const JsonFields fields_;
  const std::string& where_;
  std::vector<std::string_view> tokens_;
  json::object_t vocab_;
  json added_ = json::array();
};

}  // namespace

absl::StatusOr<std::unique_ptr<Tokenizer>> MakeGgufTokenizer(const Gguf& gguf) {
  const JsonFields fields = gguf.metadata().fields();
  const json* model = fields.Find(kModel);
  if (model == nullptr || !model->is_string())
    return fields.Wrong(kModel, "it must be \"gpt2\" or \"llama\"");
  if (*model == "gpt2") return TokenizerReader(gguf).Read();
  if (*model == "llama") return MakeGgufSentencePieceTokenizer(gguf);
  return fields.Unsupported(kModel,
                            "only byte-level BPE, \"gpt2\", and SentencePiece BPE, \"llama\", are supported");
}

std::string GgufChatTemplate(const Gguf& gguf) {
  const JsonFields fields = gguf.metadata().fields();
  const json* text = fields.Find(kChatTemplate);
  return text != nullptr && text->is_string() ? text->get<std::string>() : "";
}

absl::StatusOr<ChatTemplateFile> ReadGgufChatTemplate(const Gguf& gguf) {
  static constexpr std::pair<const char*, const char*> kIds[] = {
      {"bos_token", "tokenizer.ggml.bos_token_id"},
      {"eos_token", "tokenizer.ggml.eos_token_id"},
      {"unk_token", "tokenizer.ggml.unknown_token_id"},
      {"pad_token", "tokenizer.ggml.padding_token_id"}};
  ChatTemplateFile file{absl::StrCat(gguf.where(), ": ", kChatTemplate), GgufChatTemplate(gguf), {}};
  const JsonFields fields = gguf.metadata().fields();
  TERNION_ASSIGN_OR_RETURN(const std::vector<std::string_view> tokens, gguf.metadata().Strings(kTokens));
  for (const auto& [name, key] : kIds) {
    if (fields.Find(key) == nullptr) continue;
    TERNION_ASSIGN_OR_RETURN(const int64_t id, fields.Int(key, 0, static_cast<int64_t>(tokens.size()) - 1));
    file.special_tokens.emplace_back(name, tokens[static_cast<size_t>(id)]);
  }
  return file;
}

}  // namespace ternion
