#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "runtime/checkpoint/gguf.h"

namespace ternion {

// What general.architecture of a GGUF file means.
struct GgufArchitecture {
  std::string_view name;
  std::string_view model_type;  // of config.json: "bitnet" has sub-norms, "llama" has none
  std::string_view hidden_act;  // of config.json, where the key hidden_activation does not tell
  bool interleaved_rope;        // rows of attn_q and attn_k are in the order of interleaved RoPE pairs
  bool always_tied;             // the head is the embedding, whatever output.weight holds
};

// kInvalidArgument: missing or none that is known.
absl::StatusOr<const GgufArchitecture*> ArchitectureOf(const GgufMetadata& metadata);

// GGUF's name of the tensor that a Hugging Face checkpoint calls `name` + ".weight", without ".weight": "blk.0.attn_q"
// for "model.layers.0.self_attn.q_proj". Empty when it has none.
std::string GgufTensorName(std::string_view name);

// Refuses tensors that a model of this architecture does not have here (biases, scaled RoPE, experts): passed
// over, they would change what the model computes. kUnimplemented.
absl::Status CheckGgufTensors(const Gguf& gguf, const GgufArchitecture& architecture, int64_t layers);

}  // namespace ternion
