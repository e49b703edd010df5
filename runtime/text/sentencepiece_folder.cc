// LoadSentencePieceTokenizer: a folder's tokenizer.model with what transformers writes beside it.
#include <algorithm>
#include <fstream>
#include <iterator>
#include <optional>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "kernels/status.h"
#include "runtime/text/json_node.h"
#include "runtime/text/sentencepiece_tokenizer.h"

namespace ternion {
namespace {

using nlohmann::json;

constexpr uintmax_t kMostModelBytes = uintmax_t{64} << 20;

absl::StatusOr<std::string> ReadModelFile(const std::filesystem::path& file) {
  std::error_code error;
  const uintmax_t size = std::filesystem::file_size(file, error);
  if (error) return absl::NotFoundError(absl::StrCat(file.string(), ": cannot be read: ", error.message()));
  if (size > kMostModelBytes) {
    return absl::InvalidArgumentError(absl::StrCat(
        file.string(), ": has ", size, " bytes; a SentencePiece model may have ", kMostModelBytes));
  }
  std::ifstream stream(file, std::ios::binary);
  std::string bytes{std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
  if (!stream) return absl::InvalidArgumentError(absl::StrCat(file.string(), ": cannot be read"));
  return bytes;
}

absl::StatusOr<SentencePieceModel> ReadModel(const std::filesystem::path& file) {
  TERNION_ASSIGN_OR_RETURN(const std::string bytes, ReadModelFile(file));
  absl::StatusOr<SentencePieceModel> model = SentencePieceModel::Parse(bytes);
  if (model.ok()) return model;
  return absl::Status(model.status().code(), absl::StrCat(file.string(), ": ", model.status().message()));
}

// An empty object when the folder has no such file.
absl::StatusOr<json> ReadObject(const std::filesystem::path& file) {
  std::error_code ignored;
  if (!std::filesystem::exists(file, ignored)) return json::object();
  TERNION_ASSIGN_OR_RETURN(json document, ReadJsonFile(file));
  TERNION_RETURN_IF_ERROR(JsonNode(document, file.string()).ExpectObject());
  return document;
}

// {"32000": {"content": "<pad>", "special": true, ...}, ...}
absl::Status AppendDecoderTokens(const JsonNode& config, json& tokens) {
  if (!config.Has("added_tokens_decoder")) return absl::OkStatus();
  TERNION_ASSIGN_OR_RETURN(const JsonNode decoder, config.Field("added_tokens_decoder"));
  TERNION_RETURN_IF_ERROR(decoder.ExpectObject());
  for (const auto& [key, value] : decoder.value().items()) {
    int64_t id = 0;
    if (!absl::SimpleAtoi(key, &id)) return decoder.Invalid(absl::StrCat("\"", key, "\" is no id"));
    TERNION_ASSIGN_OR_RETURN(const JsonNode node, decoder.Field(key));
    json token = {{"id", id}, {"normalized", false}};  // text is looked at as it is
    TERNION_ASSIGN_OR_RETURN(token["content"], node.String("content"));
    for (const char* flag : {"single_word", "lstrip", "rstrip", "special"}) {
      TERNION_ASSIGN_OR_RETURN(token[flag], node.BoolOr(flag, false));
    }
    tokens.push_back(std::move(token));
  }
  return absl::OkStatus();
}

// {"<pad>": 32000, ...}, the older form; what tokenizer_config.json tells better is left out.
absl::Status AppendNamedTokens(const JsonNode& named, json& tokens) {
  for (const auto& [content, value] : named.value().items()) {
    TERNION_ASSIGN_OR_RETURN(const int64_t id, named.Int(content));
    const bool known =
        std::any_of(tokens.begin(), tokens.end(), [&](const json& token) { return token["id"] == id; });
    if (known) continue;
    tokens.push_back({{"id", id},
                      {"content", content},
                      {"single_word", false},
                      {"lstrip", false},
                      {"rstrip", false},
                      {"normalized", false},
                      {"special", true}});
  }
  return absl::OkStatus();
}

// The id of the token that a field such as bos_token names, as a string or as an object's content; `piece` if it is missing.
absl::StatusOr<int32_t> FindNamed(const JsonNode& config, const char* field, const std::string& piece,
                                  const SentencePieceModel& model, const json& tokens) {
  std::string content = piece;
  if (config.Has(field)) {
    TERNION_ASSIGN_OR_RETURN(const JsonNode node, config.Field(field));
    TERNION_ASSIGN_OR_RETURN(content,
                             node.value().is_object() ? node.String("content") : config.String(field));
  }
  for (const json& token : tokens) {
    if (token["content"] == content) return token["id"].get<int32_t>();
  }
  if (const int32_t id = model.FindControl(content); id >= 0) return id;
  return config.Invalid(
      absl::StrCat(field, " \"", content, "\" is neither a control piece of the model nor an added token"));
}

absl::StatusOr<SentencePieceSettings> ReadSettings(const std::filesystem::path& folder,
                                                   const SentencePieceModel& model) {
  SentencePieceSettings settings;
  const std::filesystem::path config_file = folder / "tokenizer_config.json";
  const std::filesystem::path named_file = folder / "added_tokens.json";
  TERNION_ASSIGN_OR_RETURN(const json config_json, ReadObject(config_file));
  TERNION_ASSIGN_OR_RETURN(const json named_json, ReadObject(named_file));
  const JsonNode config(config_json, config_file.string());
  TERNION_RETURN_IF_ERROR(AppendDecoderTokens(config, settings.added_tokens));
  TERNION_RETURN_IF_ERROR(
      AppendNamedTokens(JsonNode(named_json, named_file.string()), settings.added_tokens));
  TERNION_ASSIGN_OR_RETURN(settings.prefix_everywhere, config.BoolOr("legacy", true));
  // As transformers' LlamaTokenizer: a BOS unless the file says otherwise, an EOS only if it says so.
  const bool has_bos = config.Has("bos_token") || model.FindControl(model.bos_piece) >= 0;
  TERNION_ASSIGN_OR_RETURN(const bool bos, config.BoolOr("add_bos_token", has_bos));
  TERNION_ASSIGN_OR_RETURN(const bool eos, config.BoolOr("add_eos_token", false));
  const auto find = [&](const char* field, const std::string& piece) {
    return FindNamed(config, field, piece, model, settings.added_tokens);
  };
  if (bos) {
    TERNION_ASSIGN_OR_RETURN(settings.bos_id, find("bos_token", model.bos_piece));
  }
  if (eos) {
    TERNION_ASSIGN_OR_RETURN(settings.eos_id, find("eos_token", model.eos_piece));
  }
  return settings;
}

absl::Status ReadPrefixSpace(const std::filesystem::path& folder, SentencePieceModel& model) {
  const std::filesystem::path file = folder / "tokenizer_config.json";
  TERNION_ASSIGN_OR_RETURN(const json config, ReadObject(file));
  TERNION_ASSIGN_OR_RETURN(const bool prefix,
                           JsonNode(config, file.string()).BoolOr("add_prefix_space", true));
  if (!prefix) model.add_dummy_prefix = false;
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Tokenizer>> LoadSentencePieceTokenizer(const std::filesystem::path& folder) {
  const std::filesystem::path file = folder / "tokenizer.model";
  TERNION_ASSIGN_OR_RETURN(SentencePieceModel model, ReadModel(file));
  TERNION_ASSIGN_OR_RETURN(const SentencePieceSettings settings, ReadSettings(folder, model));
  TERNION_RETURN_IF_ERROR(ReadPrefixSpace(folder, model));
  return MakeSentencePieceTokenizer(std::move(model), settings, file.string());
}

}  // namespace ternion
