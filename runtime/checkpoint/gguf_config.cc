#include "runtime/checkpoint/gguf_config.h"

#include <algorithm>
#include <iterator>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "kernels/status.h"

namespace ternion {
namespace {

using nlohmann::json;

constexpr int64_t kMostVocab = int64_t{1} << 24;
constexpr double kDefaultRopeTheta = 10000;  // llama.cpp's

// Keys behind "ARCHITECTURE." and the fields of config.json that say the same.
struct ConfigField {
  std::string_view key;
  const char* field;
};
constexpr ConfigField kFields[] = {
    {"block_count", "num_hidden_layers"},
    {"embedding_length", "hidden_size"},
    {"feed_forward_length", "intermediate_size"},
    {"attention.head_count", "num_attention_heads"},
    {"attention.head_count_kv", "num_key_value_heads"},
    {"attention.key_length", "head_dim"},
    {"attention.layer_norm_rms_epsilon", "rms_norm_eps"},
    {"rope.freq_base", "rope_theta"},
    {"context_length", "max_position_embeddings"},
    {"hidden_activation", "hidden_act"},
};
// Keys that say nothing as long as they have this value.
struct NeutralKey {
  std::string_view key;
  double value;
};
constexpr NeutralKey kNeutralKeys[] = {
    {"expert_count", 0}, {"expert_used_count", 0}, {"rope.scaling.factor", 1}, {"rope.scale_linear", 1}};
// Keys that are checked below, and one that only remembers where the weights came from.
constexpr std::string_view kOtherKeys[] = {"vocab_size", "attention.value_length", "rope.dimension_count",
                                           "rope.scaling.type", "tensor_data_layout"};

// Converters name eos_token_id, but often not the token that ends a turn; llama.cpp finds it by these names too.
constexpr std::string_view kEndOfTurn[] = {"<|eot_id|>", "<|im_end|>"};

class ConfigReader {
 public:
  ConfigReader(const Gguf& gguf, const GgufArchitecture& architecture)
      : gguf_(gguf),
        fields_(gguf.metadata().fields()),
        architecture_(architecture),
        prefix_(absl::StrCat(ToAbsl(architecture.name), ".")) {}

  absl::StatusOr<ModelConfig> Read() {
    TERNION_RETURN_IF_ERROR(CheckKeys());
    TERNION_RETURN_IF_ERROR(Translate());
    TERNION_ASSIGN_OR_RETURN(const JsonFields fields, JsonFields::Of(document_, gguf_.where(), &names_));
    TERNION_ASSIGN_OR_RETURN(ModelConfig config, ModelConfigOf(fields));
    config.text = document_.dump();
    TERNION_RETURN_IF_ERROR(CheckHeadDim(config.shape.head_dim));
    return config;
  }

 private:
  std::string Key(std::string_view key) const { return absl::StrCat(prefix_, ToAbsl(key)); }

  absl::Status CheckKeys() const {
    for (const auto& [key, value] : gguf_.metadata().values().items()) {
      absl::string_view rest = key;
      if (absl::ConsumePrefix(&rest, prefix_)) TERNION_RETURN_IF_ERROR(CheckKey({rest.data(), rest.size()}));
    }
    if (fields_.Has("split.count")) {
      TERNION_ASSIGN_OR_RETURN(const int64_t parts, fields_.Int("split.count", 0, UINT16_MAX));
      if (parts > 1) return fields_.Unsupported("split.count", "merge the parts into one file first");
    }
    if (fields_.Has(Key("rope.scaling.type"))) {
      TERNION_RETURN_IF_ERROR(fields_.Choice(Key("rope.scaling.type"), {"none", "linear"}).status());
    }
    return absl::OkStatus();
  }

  absl::Status CheckKey(std::string_view key) const {
    for (const ConfigField& field : kFields) {
      if (field.key == key) return absl::OkStatus();
    }
    if (std::find(std::begin(kOtherKeys), std::end(kOtherKeys), key) != std::end(kOtherKeys)) {
      return absl::OkStatus();
    }
    for (const NeutralKey& neutral : kNeutralKeys) {
      if (neutral.key != key) continue;
      if (*fields_.Find(Key(key)) == neutral.value) return absl::OkStatus();
      return fields_.Unsupported(Key(key), absl::StrCat("only ", neutral.value, " is supported"));
    }
    return fields_.Unsupported(Key(key),
                               "this key is not known here, and it could change what the model computes");
  }

  // The config.json that the metadata amount to.
  absl::Status Translate() {
    const bool tied = architecture_.always_tied || gguf_.Find("output.weight") == nullptr;
    document_ = {{"model_type", architecture_.model_type},
                 {"hidden_act", architecture_.hidden_act},
                 {"rope_theta", kDefaultRopeTheta},
                 {"tie_word_embeddings", tied},
                 // The scale in the file multiplies.
                 {"quantization_config", {{"quant_method", "bitnet"}, {"linear_class", "autobitlinear"}}}};
    for (const ConfigField& field : kFields) {
      names_[field.field] = Key(field.key);
      if (const json* value = fields_.Find(Key(field.key))) document_[field.field] = *value;
    }
    TERNION_ASSIGN_OR_RETURN(const int64_t vocab, Vocabulary());
    document_["vocab_size"] = vocab;
    return TranslateIds();
  }

  // The embedding's rows; the key is optional.
  absl::StatusOr<int64_t> Vocabulary() const {
    const GgufTensor* embedding = gguf_.Find("token_embd.weight");
    if (embedding == nullptr) {
      return absl::NotFoundError(absl::StrCat(gguf_.where(), ": has no tensor token_embd.weight"));
    }
    if (embedding->dimensions != 2 || embedding->sides[0] > kMostVocab) {
      return absl::InvalidArgumentError(absl::StrCat(gguf_.Where(*embedding), ": is ", embedding->Form(),
                                                     "; it must be [vocabulary, embedding_length]"));
    }
    const int64_t rows = embedding->sides[0];
    const std::string key = Key("vocab_size");
    if (fields_.Has(key) && *fields_.Find(key) != rows) {
      return fields_.Wrong(key, absl::StrCat("token_embd.weight has ", rows, " rows"));
    }
    return rows;
  }

  absl::Status TranslateIds() {
    constexpr char kBos[] = "tokenizer.ggml.bos_token_id";
    constexpr char kEos[] = "tokenizer.ggml.eos_token_id";
    constexpr char kEot[] = "tokenizer.ggml.eot_token_id";
    names_["bos_token_id"] = kBos;
    names_["eos_token_id"] = absl::StrCat(kEos, " with the end of turn");
    if (const json* id = fields_.Find(kBos)) document_["bos_token_id"] = *id;
    json ends = json::array();
    if (const json* id = fields_.Find(kEos)) ends.push_back(*id);
    if (const json* id = fields_.Find(kEot)) {
      ends.push_back(*id);
    } else {
      TERNION_ASSIGN_OR_RETURN(const std::vector<uint64_t> ids, EndOfTurnIds());
      for (const uint64_t found : ids) {
        if (std::find(ends.begin(), ends.end(), json(found)) == ends.end()) ends.push_back(found);
      }
    }
    document_["eos_token_id"] = std::move(ends);
    return absl::OkStatus();
  }

  absl::StatusOr<std::vector<uint64_t>> EndOfTurnIds() const {
    constexpr char kTokens[] = "tokenizer.ggml.tokens";
    std::vector<uint64_t> ids;
    if (!fields_.Has(kTokens)) return ids;
    TERNION_ASSIGN_OR_RETURN(const auto tokens, gguf_.metadata().Strings(kTokens));
    for (size_t id = 0; id < tokens.size(); ++id) {
      const bool ends =
          std::find(std::begin(kEndOfTurn), std::end(kEndOfTurn), tokens[id]) != std::end(kEndOfTurn);
      if (ends) ids.push_back(id);
    }
    return ids;
  }

  // Whole heads are rotated, and values are as wide as keys.
  absl::Status CheckHeadDim(int head_dim) const {
    for (const char* name : {"rope.dimension_count", "attention.value_length"}) {
      const std::string key = Key(name);
      if (!fields_.Has(key) || *fields_.Find(key) == head_dim) continue;
      return fields_.Unsupported(key,
                                 absl::StrCat("only that of a whole head, ", head_dim, ", is supported"));
    }
    return absl::OkStatus();
  }

  const Gguf& gguf_;
  const JsonFields fields_;
  const GgufArchitecture& architecture_;
  const std::string prefix_;
  json document_;
  JsonFields::Names names_;
};

}  // namespace

absl::StatusOr<GgufConfig> ReadGgufConfig(const Gguf& gguf) {
  TERNION_ASSIGN_OR_RETURN(const GgufArchitecture* architecture, ArchitectureOf(gguf.metadata()));
  TERNION_ASSIGN_OR_RETURN(ModelConfig config, ConfigReader(gguf, *architecture).Read());
  TERNION_RETURN_IF_ERROR(CheckGgufTensors(gguf, *architecture, config.shape.layers));
  return GgufConfig{architecture, std::move(config)};
}

}  // namespace ternion
