#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "runtime/checkpoint/gguf.h"
#include "runtime/text/chat_template_file.h"
#include "runtime/text/tokenizer.h"

namespace ternion {

// The tokenizer in a GGUF file's metadata (keys tokenizer.ggml.*): SentencePiece BPE, which GGUF calls "llama"
// (gguf_sentencepiece.h), or byte-level BPE, which it calls "gpt2". Of the latter, words are cut as tokenizer.ggml.pre says;
// where a file does not say, as Llama 3 does when the vocabulary is Llama 3's, else as llama.cpp's default. Independent of
// `gguf` afterwards.
// kInvalidArgument: malformed; kUnimplemented: other models, cuts that are not known; each names the file and the key.
absl::StatusOr<std::unique_ptr<Tokenizer>> MakeGgufTokenizer(const Gguf& gguf);

// The model's chat template (Jinja); empty when the file has none.
std::string GgufChatTemplate(const Gguf& gguf);

// The same with the special tokens that it may name: bos_token and the like. kInvalidArgument: an id without a token.
absl::StatusOr<ChatTemplateFile> ReadGgufChatTemplate(const Gguf& gguf);

}  // namespace ternion
