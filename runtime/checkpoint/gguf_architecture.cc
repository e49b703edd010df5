#include "runtime/checkpoint/gguf_architecture.h"

#include <algorithm>
#include <iterator>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "kernels/status.h"

namespace ternion {
namespace {

// llama.cpp computes RoPE of "llama" on interleaved pairs, and its converters permute the rows of attn_q and attn_k
// to suit; it computes the bitnet family as Hugging Face does, on pairs half a head apart, and their rows stay as
// they are. The graphs of the bitnet family read the head from token_embd and never look at output.weight:
// converters of 2B-4T have written it as a second copy. bitnet-25 is an earlier name of bitnet-b1.58 (2B-4T, ReLU^2).
// "bitnet" was made for 1bitLLM's models (SiLU); newer files name ReLU^2 in the key hidden_activation.
constexpr GgufArchitecture kArchitectures[] = {
    {"bitnet-b1.58", "bitnet", "relu2", false, true},
    {"bitnet-25", "bitnet", "relu2", false, true},
    {"bitnet", "bitnet", "silu", false, true},
    {"llama", "llama", "silu", true, false},
};

enum class Kind : uint8_t { kLinear, kVector, kSubNorm, kTable };
struct TensorName {
  std::string_view ours;
  std::string_view gguf;
  Kind kind;
};
constexpr TensorName kModelTensors[] = {
    {"model.embed_tokens", "token_embd", Kind::kTable},
    {"model.norm", "output_norm", Kind::kVector},
    {"lm_head", "output", Kind::kTable},
};
constexpr std::string_view kOurLayer = "model.layers.";
constexpr std::string_view kGgufLayer = "blk.";
constexpr TensorName kLayerTensors[] = {
    {"input_layernorm", "attn_norm", Kind::kVector},
    {"self_attn.q_proj", "attn_q", Kind::kLinear},
    {"self_attn.k_proj", "attn_k", Kind::kLinear},
    {"self_attn.v_proj", "attn_v", Kind::kLinear},
    {"self_attn.attn_sub_norm", "attn_sub_norm", Kind::kSubNorm},
    {"self_attn.o_proj", "attn_output", Kind::kLinear},
    {"post_attention_layernorm", "ffn_norm", Kind::kVector},
    {"mlp.gate_proj", "ffn_gate", Kind::kLinear},
    {"mlp.up_proj", "ffn_up", Kind::kLinear},
    {"mlp.ffn_sub_norm", "ffn_sub_norm", Kind::kSubNorm},
    {"mlp.down_proj", "ffn_down", Kind::kLinear},
};

// Cuts "NUMBER." off the front.
bool ConsumeLayer(absl::string_view& name, int64_t& layer) {
  const size_t dot = name.find('.');
  if (dot == name.npos || !absl::SimpleAtoi(name.substr(0, dot), &layer) || layer < 0) return false;
  // One spelling of a number, so that no tensor has two names.
  if (absl::StrCat(layer) != name.substr(0, dot)) return false;
  name.remove_prefix(dot + 1);
  return true;
}

template <size_t n>
const TensorName* FindGguf(const TensorName (&names)[n], absl::string_view gguf) {
  const auto found = std::find_if(std::begin(names), std::end(names),
                                  [&](const TensorName& name) { return ToAbsl(name.gguf) == gguf; });
  return found == std::end(names) ? nullptr : found;
}

// What a tensor is that a model of `layers` layers has here; null: it has none of that name.
const TensorName* FindTensor(absl::string_view name, int64_t layers) {
  int64_t layer = 0;
  const bool in_layer = absl::ConsumePrefix(&name, ToAbsl(kGgufLayer));
  if (in_layer && (!ConsumeLayer(name, layer) || layer >= layers)) return nullptr;
  const bool is_scale = absl::ConsumeSuffix(&name, ".scale");
  if (!is_scale && !absl::ConsumeSuffix(&name, ".weight")) return nullptr;
  const TensorName* found = in_layer ? FindGguf(kLayerTensors, name) : FindGguf(kModelTensors, name);
  return found != nullptr && is_scale && found->kind != Kind::kLinear ? nullptr : found;
}

}  // namespace

absl::StatusOr<const GgufArchitecture*> ArchitectureOf(const GgufMetadata& metadata) {
  constexpr char kKey[] = "general.architecture";
  const JsonFields fields = metadata.fields();
  const nlohmann::json* value = fields.Find(kKey);
  for (const GgufArchitecture& architecture : kArchitectures) {
    if (value != nullptr && *value == architecture.name) return &architecture;
  }
  const auto name = [](std::string* out, const GgufArchitecture& architecture) {
    absl::StrAppend(out, "\"", ToAbsl(architecture.name), "\"");
  };
  return fields.Wrong(kKey, absl::StrCat("it must be ", absl::StrJoin(kArchitectures, " or ", name)));
}

std::string GgufTensorName(std::string_view ours) {
  for (const TensorName& name : kModelTensors) {
    if (name.ours == ours) return std::string(name.gguf);
  }
  absl::string_view rest = ToAbsl(ours);
  int64_t layer = 0;
  if (!absl::ConsumePrefix(&rest, ToAbsl(kOurLayer)) || !ConsumeLayer(rest, layer)) return "";
  for (const TensorName& name : kLayerTensors) {
    if (ToAbsl(name.ours) == rest) return absl::StrCat(ToAbsl(kGgufLayer), layer, ".", ToAbsl(name.gguf));
  }
  return "";
}

absl::Status CheckGgufTensors(const Gguf& gguf, const GgufArchitecture& architecture, int64_t layers) {
  const bool sub_norms = architecture.model_type == "bitnet";
  for (const GgufTensor& tensor : gguf.tensors()) {
    const TensorName* known = FindTensor(ToAbsl(tensor.name), layers);
    if (known != nullptr && (sub_norms || known->kind != Kind::kSubNorm)) continue;
    return absl::UnimplementedError(absl::StrCat(
        gguf.Where(tensor), ": a model of ", layers, " layers and architecture \"", ToAbsl(architecture.name),
        "\" has no such tensor here; without it, it would compute something else"));
  }
  return absl::OkStatus();
}

}  // namespace ternion
