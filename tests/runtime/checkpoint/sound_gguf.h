#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "runtime/checkpoint/gguf_config.h"
#include "runtime/checkpoint/gguf_ternary.h"
#include "runtime/text/gguf_tokenizer.h"
#include "tests/runtime/checkpoint/gguf_writer.h"

namespace ternion {

inline absl::Span<const std::byte> AsBytes(const std::string& bytes) {
  return {reinterpret_cast<const std::byte*>(bytes.data()), bytes.size()};
}

// A sound file with every part that a loader looks at: 128 channels, one layer, 8 tokens.
inline GgufTestFile SoundGguf() {
  GgufTestFile file;
  file.keys = {{"general.architecture", GgufText("llama")},
               {"general.alignment", GgufU32(32)},
               {"llama.block_count", GgufU32(1)},
               {"llama.embedding_length", GgufU32(128)},
               {"llama.feed_forward_length", GgufU32(128)},
               {"llama.attention.head_count", GgufU32(2)},
               {"llama.attention.layer_norm_rms_epsilon", GgufF32(1e-5f)},
               {"llama.context_length", GgufU32(64)},
               {"tokenizer.ggml.model", GgufText("gpt2")},
               {"tokenizer.ggml.pre", GgufText("gpt-2")},
               {"tokenizer.ggml.tokens", GgufTexts({"a", "b", "c", "ab", "abc", "<s>", "</s>", "[PAD7]"})},
               {"tokenizer.ggml.token_type", GgufI32s({1, 1, 1, 1, 1, 3, 3, 5})},
               {"tokenizer.ggml.merges", GgufTexts({"a b", "ab c"})},
               {"tokenizer.ggml.bos_token_id", GgufU32(5)},
               {"tokenizer.ggml.eos_token_id", GgufU32(6)},
               {"tokenizer.ggml.add_bos_token", GgufBool(1)},
               {"tokenizer.chat_template", GgufText("{{ messages }}")}};
  file.tensors = {{"token_embd.weight", 1, {128, 8}, std::string(2048, '\1'), 0},
                  {"output_norm.weight", 0, {128}, std::string(512, '\0'), 0},
                  {"blk.0.attn_q.weight",
                   36,
                   {128, 128},
                   std::string(4096, '\x1b') + GgufNumber(0.5f) + std::string(28, 0),
                   0},
                  {"blk.0.attn_q.scale", 0, {}, GgufNumber(2.0f), 0}};
  return file;
}

// All that may look at a file before its weights are packed. Pure: what a fuzzer would call.
inline absl::Status ReadAllOfGguf(const std::string& bytes) {
  const absl::StatusOr<Gguf> gguf = Gguf::Parse(AsBytes(bytes), "model.gguf");
  if (!gguf.ok()) return gguf.status();
  if (const auto config = ReadGgufConfig(*gguf); !config.ok()) return config.status();
  if (const auto tokenizer = MakeGgufTokenizer(*gguf); !tokenizer.ok()) return tokenizer.status();
  GgufChatTemplate(*gguf);
  for (const GgufTensor& tensor : gguf->tensors()) {
    if (tensor.type->decode_trits == nullptr) continue;
    if (const auto scale = GgufScale(*gguf, tensor); !scale.ok()) return scale.status();
  }
  return absl::OkStatus();
}

}  // namespace ternion
